//! Claims: exclusive rights across computers that share a folder.
//!
//! The system's locks are not enough there: some file systems have none (Lustre), some have one per computer (GPFS). A
//! claim is a file that appears by `link`, of which one succeeds. It names its holder, whose process writes to it every
//! few seconds. The claim of a dead holder is taken over: at once if it was on this computer, where the system's lock
//! tells, otherwise when nothing was written to it for two minutes and Slurm knows no job of its holder: a suspended job
//! writes nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::job::may_live;

/// Interval of writing to claims.
const BEAT: Duration = Duration::from_secs(15);

/// The age at which a claim has no holder: several beats, and what NFS may remember of a file.
const STALE: Duration = Duration::from_secs(120);

/// A claim, held until dropped.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    token: String,
}

/// The content of a claim.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    /// Differs from claim to claim.
    token: String,
    /// Its computer since it was last started; the system's locks are right there.
    node: String,
    /// The computer's name, for people.
    host: String,
    /// Its process, for people.
    pid: u32,
    /// The job of Slurm that it belongs to.
    job: Option<String>,
}

/// Files of this process's claims, by token.
static HELD: LazyLock<Mutex<BTreeMap<String, File>>> = LazyLock::new(Mutex::default);

/// This computer since it was last started.
static NODE: LazyLock<String> = LazyLock::new(|| {
    let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let boot = read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{}-{boot}", host())
});

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    name.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_else(|| "unknown".into())
}

/// A short name of this computer since it was last started.
pub(super) fn node() -> String {
    blake3::hash(NODE.as_bytes()).to_hex()[..8].to_owned()
}

impl Claim {
    /// Try to get a claim; `None` if it is held. `has_lock` says that this process has the system's lock of the same
    /// name, so that another holder on this computer is dead.
    pub(super) fn try_now(path: &Path, has_lock: bool) -> io::Result<Option<Self>> {
        Self::try_unless(path, has_lock, may_live)
    }

    /// The same; `may_live` says whether a job may live.
    fn try_unless(path: &Path, has_lock: bool, may_live: impl Fn(&str) -> bool) -> io::Result<Option<Self>> {
        loop {
            if let Some(found) = Found::at(path)? {
                if found.is_held(has_lock, &may_live) {
                    return Ok(None);
                }
                found.remove(path)?;
            }
            if let Some(claim) = Self::create(path)? {
                return Ok(Some(claim));
            }
        }
    }

    /// Whether somebody holds a claim, while nobody on this computer has the system's lock of the same name.
    pub(super) fn is_held_elsewhere(path: &Path) -> io::Result<bool> {
        Ok(Found::at(path)?.is_some_and(|found| found.is_held(true, may_live)))
    }

    /// Create the file; `None` if there is one.
    fn create(path: &Path) -> io::Result<Option<Self>> {
        let holder = Holder::new();
        let beside = path.with_extension(&holder.token);
        let mut file = match File::create_new(&beside) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
                File::create_new(&beside)?
            }
            created => created?,
        };
        write(&mut file, &holder)?;
        let linked = link(&beside, path);
        // A repeated request of NFS may say that the file exists, though it is this one.
        let is_own = match &linked {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => holds(path, &holder.token),
            other => other.is_ok(),
        };
        let _ = fs::remove_file(&beside);
        match linked {
            _ if is_own => {
                keep(&holder.token, file);
                Ok(Some(Self { path: path.to_owned(), token: holder.token }))
            }
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(None),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        held().remove(&self.token);
        if holds(&self.path, &self.token) {
            // A remaining file is taken over later.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A claim that was found.
struct Found {
    /// `None` if it cannot be read.
    holder: Option<Holder>,
    age: Duration,
}

impl Found {
    fn at(path: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            text => text?,
        };
        let holder: Option<Holder> = serde_json::from_str(&text).ok();
        let is_here = holder.as_ref().is_some_and(|holder| holder.node == *NODE);
        let age = if is_here { Duration::ZERO } else { age(path) };
        Ok(Some(Self { holder, age }))
    }

    fn is_held(&self, has_lock: bool, may_live: impl Fn(&str) -> bool) -> bool {
        let is_here = self.holder.as_ref().is_some_and(|holder| holder.node == *NODE);
        if is_here && has_lock {
            return false;
        }
        let job = self.holder.as_ref().and_then(|holder| holder.job.as_deref());
        self.age < STALE || job.is_some_and(may_live)
    }

    /// Remove the claim, unless it has become another one.
    fn remove(&self, path: &Path) -> io::Result<()> {
        let aside = path.with_extension(format!("{}-old", Holder::new().token));
        match fs::rename(path, &aside) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            renamed => renamed?,
        }
        if read(&aside) != self.holder {
            // Another process was faster, and its claim is not old: put it back.
            let _ = link(&aside, path);
        }
        fs::remove_file(&aside)
    }
}

impl Holder {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let job = std::env::var("SLURM_JOB_ID").ok();
        Self { token: format!("{}-{pid}-{number}", node()), node: NODE.clone(), host: host(), pid, job }
    }
}

/// Time since something was last written to a file, by the clock of its file system.
fn age(path: &Path) -> Duration {
    let now = || {
        let beside = path.with_extension(format!("{}-now", Holder::new().token));
        let time = File::create_new(&beside)?.metadata()?.modified();
        fs::remove_file(&beside)?;
        time
    };
    // Opening the file makes NFS ask for its current state.
    let written = File::open(path).and_then(|file| file.metadata()?.modified());
    let now = now().unwrap_or_else(|_: io::Error| SystemTime::now());
    written.ok().and_then(|written| now.duration_since(written).ok()).unwrap_or_default()
}

/// Give a file a second name, unless the name exists. File systems without links create a second file.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if !matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => {
            let content = fs::read(from)?;
            File::create_new(to)?.write_all(&content)
        }
        linked => linked,
    }
}

fn read(path: &Path) -> Option<Holder> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

fn holds(path: &Path, token: &str) -> bool {
    read(path).is_some_and(|holder| holder.token == token)
}

fn write(file: &mut File, holder: &Holder) -> io::Result<()> {
    let json = serde_json::to_string(holder).expect("keys are strings");
    file.write_all(json.as_bytes())
}

fn held() -> std::sync::MutexGuard<'static, BTreeMap<String, File>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Write to a claim every few seconds from now on.
fn keep(token: &str, file: File) {
    static START: Once = Once::new();
    held().insert(token.to_owned(), file);
    START.call_once(|| {
        // Without the thread, others may take claims over after two minutes; entries still appear whole or not at all.
        let _ = thread::Builder::new().name("claims".into()).spawn(|| {
            loop {
                thread::sleep(BEAT);
                held().values_mut().for_each(beat);
            }
        });
    });
}

/// Write the first byte again, so that the file is new. A claim whose folder was removed stays without.
fn beat(file: &mut File) {
    let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(b"{")).and_then(|()| file.sync_data());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A claim of a process on another computer.
    fn elsewhere(path: &Path, age: Duration) {
        elsewhere_in(None, path, age);
    }

    /// The same, of a job.
    fn elsewhere_in(job: Option<&str>, path: &Path, age: Duration) {
        let job = job.map(str::to_owned);
        let holder = Holder { node: "other-1".into(), job, ..Holder::new() };
        let mut file = File::create(path).unwrap();
        write(&mut file, &holder).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("claims").join("a");
        (folder, path)
    }

    fn names(path: &Path) -> usize {
        fs::read_dir(path.parent().unwrap()).unwrap().count()
    }

    #[test]
    fn one_of_many_gets_a_claim_and_its_file_goes_with_it() {
        let (_folder, path) = place();
        let claims: Vec<_> = thread::scope(|scope| {
            let tries: Vec<_> =
                (0..8).map(|_| scope.spawn(|| Claim::try_now(&path, false).unwrap())).collect();
            tries.into_iter().filter_map(|one| one.join().unwrap()).collect()
        });
        assert_eq!((claims.len(), names(&path)), (1, 1));
        drop(claims);
        assert_eq!(names(&path), 0);
    }

    #[test]
    fn a_holder_on_another_computer_is_alive_while_it_writes() {
        let (_folder, path) = place();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        elsewhere(&path, Duration::from_secs(60));
        assert!(Claim::try_now(&path, true).unwrap().is_none());
        assert!(Claim::is_held_elsewhere(&path).unwrap());
        elsewhere(&path, Duration::from_secs(600));
        assert!(!Claim::is_held_elsewhere(&path).unwrap());
        let claim = Claim::try_now(&path, true).unwrap().unwrap();
        assert!(holds(&path, &claim.token));
        assert_eq!(names(&path), 1);
    }

    #[test]
    fn a_silent_holder_keeps_its_claim_while_its_job_lives() {
        let (_folder, path) = place();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        elsewhere_in(Some("12"), &path, Duration::from_secs(60));
        let unasked = |_: &str| -> bool { panic!("its claim is new") };
        assert!(Claim::try_unless(&path, true, unasked).unwrap().is_none());
        elsewhere_in(Some("12"), &path, Duration::from_secs(600));
        assert!(Claim::try_unless(&path, true, |job| job == "12").unwrap().is_none());
        let claim = Claim::try_unless(&path, true, |_| false).unwrap().unwrap();
        assert!(holds(&path, &claim.token));
    }

    #[test]
    fn a_dead_holder_on_this_computer_is_known_by_the_lock() {
        let (_folder, path) = place();
        let dead = Claim::try_now(&path, true).unwrap().unwrap();
        assert!(Claim::try_now(&path, false).unwrap().is_none());
        let next = Claim::try_now(&path, true).unwrap().unwrap();
        drop(dead);
        assert!(holds(&path, &next.token), "the old one removes its own file alone");
    }

    #[test]
    fn a_beat_makes_a_claim_new_and_keeps_its_content() {
        let (_folder, path) = place();
        let claim = Claim::try_now(&path, true).unwrap().unwrap();
        let old = SystemTime::now() - Duration::from_secs(600);
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert!(age(&path) > STALE);
        beat(held().get_mut(&claim.token).unwrap());
        assert!(age(&path) < STALE && holds(&path, &claim.token));
    }
}
