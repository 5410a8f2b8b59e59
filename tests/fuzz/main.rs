//! Fuzzing of everything that reads files: mutated files must give a result or an error, never a panic, a hang or
//! more than a gigabyte of memory. See `tests/README.md`.
//!
//! ```text
//! cargo test --release --test fuzz                            # every target, a few hundred inputs each
//! cargo test --release --test fuzz -- npz --seconds 60        # targets whose name contains this text, a minute each
//! cargo test --release --test fuzz -- npz --input FILE        # one input again
//! cargo test --release --test fuzz -- --write-corpus          # make the small binary files of the corpus again
//! ```
//!
//! A target runs in a process of its own, so that a crash loses one target and leaves the input behind. Inputs depend
//! on the seed alone.
//!
//! | file | what |
//! |---|---|
//! | `target` | what is fuzzed: each target reads one input |
//! | `mutate` | inputs from inputs |
//! | `campaign` | inputs, one after the other, and what they do |
//! | `limits` | memory and time |
//! | `corpus` | the inputs to start from |

mod campaign;
mod corpus;
mod limits;
mod mutate;
mod target;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use campaign::{Campaign, Length};
use target::{TARGETS, Target};

/// Seconds for each target, without `--seconds`.
const VARIABLE: &str = "MEDMERGE_FUZZ_SECONDS";

/// Inputs of each target where no time is given.
const INPUTS: u64 = 300;

/// Options of Rust's own test programs that `cargo test` passes to all of them; they change nothing here.
const IGNORED: [&str; 7] =
    ["--nocapture", "--quiet", "-q", "--exact", "--ignored", "--include-ignored", "--show-output"];

#[derive(Default)]
struct Arguments {
    filters: Vec<String>,
    seconds: Option<u64>,
    seed: u64,
    input: Option<PathBuf>,
    list: bool,
    write_corpus: bool,
    /// The folder of a process that fuzzes one target.
    child: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = Arguments::parse(std::env::args().skip(1)).and_then(|arguments| arguments.execute());
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments =
            Self { seconds: number(VARIABLE, std::env::var(VARIABLE).ok())?, ..Self::default() };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--seconds" => arguments.seconds = number(&word, words.next().or(Some(String::new())))?,
                "--seed" => arguments.seed = number(&word, words.next())?.unwrap_or_default(),
                "--input" => arguments.input = words.next().map(PathBuf::from),
                "--child" => arguments.child = words.next().map(PathBuf::from),
                "--list" => arguments.list = true,
                "--write-corpus" => arguments.write_corpus = true,
                option if IGNORED.contains(&option) => {}
                option if option.starts_with('-') => return Err(format!("unknown option `{option}`")),
                _ => arguments.filters.push(word),
            }
        }
        Ok(arguments)
    }

    /// Whether every target passed.
    fn execute(&self) -> Result<bool, String> {
        if self.write_corpus {
            return corpus::write().map(|()| true).map_err(|error| error.to_string());
        }
        let targets: Vec<&Target> = TARGETS.iter().filter(|target| self.selects(target.name)).collect();
        if self.list {
            targets.iter().for_each(|target| println!("{}: test", target.name));
            return Ok(true);
        }
        match (&self.child, &targets[..]) {
            (Some(folder), [target]) => self.fuzz(target, folder),
            (Some(_), _) => Err("a child fuzzes one target".into()),
            (None, _) => self.supervise(&targets),
        }
    }

    fn selects(&self, name: &str) -> bool {
        match (&self.child, &self.filters[..]) {
            (_, []) => true,
            (Some(_), [only]) => name == only,
            (_, filters) => filters.iter().any(|filter| name.contains(filter.as_str())),
        }
    }

    /// Fuzz one target in this process.
    fn fuzz(&self, target: &'static Target, folder: &Path) -> Result<bool, String> {
        let io = |error: std::io::Error| format!("failed to fuzz {}: {error}", target.name);
        let mut campaign = Campaign::new(target, folder.to_owned(), self.seed).map_err(io)?;
        if let Some(input) = &self.input {
            let bytes = std::fs::read(input)
                .map_err(|error| format!("failed to read {}: {error}", input.display()))?;
            return campaign.repeat(&bytes).map_err(io);
        }
        let seconds = self.seconds.map(|seconds| Length::Time(Duration::from_secs(seconds)));
        campaign.run(seconds.unwrap_or(Length::Inputs(INPUTS))).map_err(io)
    }

    /// Fuzz each target in a process of its own.
    fn supervise(&self, targets: &[&Target]) -> Result<bool, String> {
        let mut passed = true;
        for target in targets {
            passed &=
                self.child(target).map_err(|error| format!("failed to fuzz {}: {error}", target.name))?;
        }
        println!("fuzzed {} targets: {}", targets.len(), if passed { "ok" } else { "FAILED" });
        Ok(passed)
    }

    fn child(&self, target: &Target) -> std::io::Result<bool> {
        let folder = tempfile::tempdir()?;
        let mut child = Command::new(std::env::current_exe()?);
        child
            .env("RUST_BACKTRACE", "0")
            .arg(target.name)
            .arg("--child")
            .arg(folder.path())
            .args(["--seed", &self.seed.to_string()]);
        if let Some(seconds) = self.seconds {
            child.args(["--seconds", &seconds.to_string()]);
        }
        if let Some(input) = &self.input {
            child.arg("--input").arg(input);
        }
        let status = child.status()?;
        if !matches!(status.code(), Some(0 | 1)) {
            let bytes = std::fs::read(folder.path().join(campaign::CURRENT))?;
            campaign::report(target.name, &reason(status), &bytes)?;
        }
        Ok(status.success())
    }
}

fn number(name: &str, text: Option<String>) -> Result<Option<u64>, String> {
    text.map(|text| text.parse().map_err(|_| format!("{name} needs an integer, not `{text}`"))).transpose()
}

/// Why a process ended.
fn reason(status: ExitStatus) -> String {
    #[cfg(unix)]
    match std::os::unix::process::ExitStatusExt::signal(&status) {
        Some(libc::SIGPROF) => return format!("it computed for more than {} s", limits::SECONDS),
        Some(libc::SIGALRM) => return format!("it waited for more than {} s", limits::SECONDS_WAITING),
        Some(libc::SIGABRT) => {
            return format!("it aborted, as it does beyond {} bytes of memory", limits::BYTES);
        }
        _ => {}
    }
    format!("it crashed ({status})")
}
