//! What cannot be tested here: said, counted at the end, and a failure where `MEDMERGE_MUST_TEST` demands it.

use std::fmt::Display;
use std::sync::{Mutex, Once, PoisonError};

/// What a test needs and a machine may lack.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// The folder of real data in `MEDMERGE_DATA`.
    Data,
    /// An NVIDIA GPU, and a build for it.
    Gpu,
    /// The right to mount a disk of one's own.
    Mounts,
    /// A user that file permissions bind: not root.
    Permissions,
    /// A Slurm that tests may set up, stop and start.
    Slurm,
}

impl Need {
    fn word(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Gpu => "gpu",
            Self::Mounts => "mounts",
            Self::Permissions => "permissions",
            Self::Slurm => "slurm",
        }
    }

    /// Whether `MEDMERGE_MUST_TEST`, a comma-separated list of needs or `all`, has it.
    fn is_demanded(self) -> bool {
        let demanded = std::env::var("MEDMERGE_MUST_TEST").unwrap_or_default();
        demanded.split(',').map(str::trim).any(|word| word == self.word() || word == "all")
    }
}

static NOT_TESTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Notes that a test cannot test here.
///
/// # Panics
/// If `MEDMERGE_MUST_TEST` demands it.
pub(crate) fn not_tested(need: Need, why: impl Display) {
    static AT_EXIT: Once = Once::new();
    assert!(!need.is_demanded(), "not tested: {why}; MEDMERGE_MUST_TEST demands `{}`", need.word());
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    NOT_TESTED.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{test}: {why}"));
    AT_EXIT.call_once(|| {
        // SAFETY: the function takes and returns nothing, and does not unwind.
        let registered = unsafe { libc::atexit(tell) };
        assert_eq!(registered, 0, "a function can be registered to run at exit");
    });
}

/// Runs when the test program ends, after the summary of its tests.
extern "C" fn tell() {
    let list = NOT_TESTED.lock().unwrap_or_else(PoisonError::into_inner);
    eprintln!("not tested: {}", list.len());
    list.iter().for_each(|test| eprintln!("    {test}"));
}
