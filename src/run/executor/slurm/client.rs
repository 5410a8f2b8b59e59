//! Everything that talks to Slurm: `sbatch`, `squeue`, `sacct`, `scancel`, `scontrol`, and what they answer.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use kind::text::shell;

use super::super::super::utc::utc;
use super::state::State;

/// Slurm's default of `MaxArraySize`.
const MAX_ARRAY_SIZE: usize = 1001;

/// Errors of a controller that does not answer: nothing is known of jobs.
const UNREACHABLE: [&str; 9] = [
    "Unable to contact slurm controller",
    "Unable to contact the controller",
    "Unable to connect",
    "Connection refused",
    "Connection timed out",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Transport endpoint is not connected",
    "Resource temporarily unavailable",
];

/// Errors of a queue that is full for this user or for all.
const BUSY: [&str; 5] = [
    "MaxSubmit",
    "maximum number of jobs",
    "temporarily unable to accept job",
    "Job count exceeded",
    "MaxJobCount",
];

/// Why Slurm did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It does not answer.
    Unreachable(String),
    /// Its queue takes no more jobs now.
    Busy(String),
    /// It refuses.
    Refused(String),
    /// Its programs are not here.
    Missing(String),
}

impl Trouble {
    /// In Slurm's words.
    pub(super) fn text(&self) -> &str {
        let (Self::Unreachable(text) | Self::Busy(text) | Self::Refused(text) | Self::Missing(text)) = self;
        text
    }
}

/// A job of a job array, as `squeue` or `sacct` list it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// `<array>_<index>`.
    pub(super) id: String,
    pub(super) state: State,
    /// The comment that it was submitted with; empty if unknown.
    pub(super) comment: String,
}

/// Calls Slurm's programs, and records each call.
#[derive(Debug)]
pub(super) struct Client {
    /// A line per call.
    calls: PathBuf,
    /// The folder of Slurm's programs; empty for those on the `PATH`.
    programs: PathBuf,
}

impl Client {
    /// A client that records calls in this file.
    pub(super) fn new(calls: PathBuf) -> Self {
        Self { calls, programs: PathBuf::new() }
    }

    /// The same with the programs of a folder.
    #[cfg(test)]
    pub(super) fn with_programs(self, programs: &Path) -> Self {
        Self { programs: programs.to_owned(), ..self }
    }

    /// Whether a batch script would be accepted.
    pub(super) fn test(&self, script: &Path) -> Result<(), Trouble> {
        self.call("sbatch", &["--test-only", &script.to_string_lossy()]).map(drop)
    }

    /// Submit a batch script as an array of `count` jobs, of which at most `limit` run at once; returns its number.
    pub(super) fn submit(
        &self,
        script: &Path,
        count: usize,
        limit: Option<usize>,
    ) -> Result<String, Trouble> {
        let limit = limit.map(|limit| format!("%{limit}")).unwrap_or_default();
        let array = format!("--array=0-{}{limit}", count - 1);
        let answer = self.call("sbatch", &["--parsable", &array, &script.to_string_lossy()])?;
        submitted(&answer).ok_or_else(|| Trouble::Unreachable(format!("sbatch answered {answer:?}")))
    }

    /// All jobs of this name that the controller knows, also some that have ended.
    pub(super) fn jobs(&self, name: &str) -> Result<Vec<Listed>, Trouble> {
        let name = format!("--name={name}");
        let options = ["--me", &name, "--states=all", "--array", "--noheader", "--format=%i|%T|%r|%k"];
        Ok(listed(&self.call("squeue", &options)?))
    }

    /// Jobs of this name in the accounting of the last week; `None` without one.
    pub(super) fn accounted(&self, name: &str) -> Option<Vec<Listed>> {
        let name = format!("--name={name}");
        let options = ["-X", "-n", "-P", "--starttime=now-7days", &name, "--format=JobID,State"];
        self.call("sacct", &options).ok().map(|answer| accounted(&answer))
    }

    /// Cancel job arrays.
    pub(super) fn cancel(&self, arrays: &[&str]) -> Result<(), Trouble> {
        self.call("scancel", arrays).map(drop)
    }

    /// The maximum number of jobs in an array.
    pub(super) fn max_array_size(&self) -> usize {
        let answer = self.call("scontrol", &["show", "config"]);
        answer.ok().and_then(|answer| max_array_size(&answer)).unwrap_or(MAX_ARRAY_SIZE)
    }

    fn call(&self, program: &str, arguments: &[&str]) -> Result<String, Trouble> {
        let output = Command::new(self.programs.join(program)).args(arguments).stdin(Stdio::null()).output();
        let ended = output.as_ref().map_or_else(ToString::to_string, |output| output.status.to_string());
        self.record(program, arguments, &ended);
        let output = output.map_err(|error| {
            Trouble::Missing(format!(
                "failed to start {program}: {error}; run on a login node of the cluster"
            ))
        })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(trouble(program, &text(&output.stderr))),
        }
    }

    fn record(&self, program: &str, arguments: &[&str], ended: &str) {
        let words: Vec<_> = arguments.iter().map(|argument| shell(argument)).collect();
        let line = format!("{} {program} {}: {ended}\n", utc(SystemTime::now()), words.join(" "));
        // The record is for people; without it, the run goes on.
        let file = File::options().create(true).append(true).open(&self.calls);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

/// Interpret what a program of Slurm wrote to stderr when it failed.
fn trouble(program: &str, stderr: &str) -> Trouble {
    let has = |words: &[&str]| words.iter().any(|words| stderr.contains(words));
    let lines: Vec<_> = stderr.lines().map(|line| line.trim_start_matches("sbatch: error: ")).collect();
    let text = if stderr.is_empty() { format!("{program} failed") } else { lines.join("; ") };
    match stderr {
        _ if has(&UNREACHABLE) => Trouble::Unreachable(text),
        _ if has(&BUSY) => Trouble::Busy(text),
        _ => Trouble::Refused(text),
    }
}

/// The number in the answer of `sbatch --parsable`: `12`, or `12;cluster`.
fn submitted(answer: &str) -> Option<String> {
    let number = answer.lines().last()?.split(';').next()?.trim();
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| number.to_owned())
}

/// Lines `id|STATE|reason|comment`. Whatever else is printed is ignored.
fn listed(answer: &str) -> Vec<Listed> {
    let job = |line: &str| {
        let mut parts = line.trim().splitn(4, '|');
        let (id, name, reason, comment) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let comment = if comment == "(null)" { "" } else { comment };
        let state = State { name: name.into(), reason: reason.into() };
        is_element(id).then(|| Listed { id: id.into(), state, comment: comment.into() })
    };
    answer.lines().filter_map(job).collect()
}

/// Lines `id|STATE`, as in `12_0|CANCELLED by 1000`.
fn accounted(answer: &str) -> Vec<Listed> {
    let job = |line: &str| {
        let (id, state) = line.trim().split_once('|')?;
        let name = state.split_whitespace().next()?.trim_end_matches('+');
        let state = State { name: name.into(), reason: String::new() };
        is_element(id).then(|| Listed { id: id.into(), state, comment: String::new() })
    };
    answer.lines().filter_map(job).collect()
}

/// Whether an id is one of an element of an array: `12_0`.
fn is_element(id: &str) -> bool {
    id.split_once('_')
        .is_some_and(|(array, index)| [array, index].iter().all(|part| part.parse::<u64>().is_ok()))
}

fn max_array_size(answer: &str) -> Option<usize> {
    let line = answer.lines().find(|line| line.starts_with("MaxArraySize"))?;
    line.split('=').nth(1)?.trim().parse().ok().filter(|&size| size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_squeue_are_read() {
        let answer = "2|COMPLETED|None|(null)\n1_0|RUNNING|None|tok\n1_1|PENDING|Priority|a|b\n\
                      9_[3-7%2]|PENDING|Resources|tok\nslurm_load_jobs error: x\n";
        let jobs = listed(answer);
        let ids: Vec<_> = jobs.iter().map(|job| (job.id.as_str(), job.state.name.as_str())).collect();
        assert_eq!(ids, [("1_0", "RUNNING"), ("1_1", "PENDING")]);
        assert_eq!((jobs[0].comment.as_str(), jobs[1].comment.as_str()), ("tok", "a|b"));
    }

    #[test]
    fn answers_of_sacct_are_read() {
        let jobs = accounted("12_0|CANCELLED by 1000\n12_1|OUT_OF_MEMORY\n13|FAILED\n12_2|NODE_FAIL+\n");
        let states: Vec<_> = jobs.iter().map(|job| job.state.name.as_str()).collect();
        assert_eq!(states, ["CANCELLED", "OUT_OF_MEMORY", "NODE_FAIL"]);
        assert!(jobs[1].state.ran_out_of_memory());
    }

    #[test]
    fn answers_of_sbatch_are_read() {
        assert_eq!(submitted("12\n").as_deref(), Some("12"));
        assert_eq!(submitted("12;cluster").as_deref(), Some("12"));
        assert_eq!(submitted("Welcome!\n7").as_deref(), Some("7"));
        assert_eq!((submitted(""), submitted("x")), (None, None));
    }

    #[test]
    fn a_controller_that_does_not_answer_is_no_refusal() {
        let unreachable = [
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
            "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
            "squeue: error: slurm_receive_msgs: Socket timed out on send/recv operation",
        ];
        for stderr in unreachable {
            assert!(matches!(trouble("squeue", stderr), Trouble::Unreachable(_)), "{stderr}");
        }
        let limit = "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates \
                     accounting/QOS policy (job submit limit, user's size and/or time limits)";
        assert!(matches!(trouble("sbatch", limit), Trouble::Busy(_)));
        let partition = "sbatch: error: invalid partition specified: nope\nallocation failure: Invalid partition name specified";
        let refused = Trouble::Refused(
            "invalid partition specified: nope; allocation failure: Invalid partition name specified".into(),
        );
        assert_eq!(trouble("sbatch", partition), refused);
        assert_eq!(trouble("sbatch", "").text(), "sbatch failed");
    }

    #[test]
    fn the_size_of_arrays_is_read() {
        let answer =
            "Configuration data as of x\nMaxArraySize            = 101\nMaxJobCount             = 10000\n";
        assert_eq!(max_array_size(answer), Some(101));
        assert_eq!(max_array_size("MaxArraySize = many"), None);
    }
}
