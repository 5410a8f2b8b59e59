//! Whether a job of Slurm may still hold a claim.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer of Slurm counts.
const ANSWER: Duration = Duration::from_secs(60);

/// Answers of Slurm by job, and when they were given.
static ANSWERS: LazyLock<Mutex<BTreeMap<String, (Instant, bool)>>> = LazyLock::new(Mutex::default);

/// Whether a process of a job may live. Slurm is asked once a minute at most.
pub(super) fn may_live(job: &str) -> bool {
    // The holder was another process of this job: on another computer, it was there before the job was restarted.
    if std::env::var("SLURM_JOB_ID").is_ok_and(|own| own == job) {
        return false;
    }
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, answer)) = answers.get(job)
        && at.elapsed() < ANSWER
    {
        return *answer;
    }
    let answer = ask(Path::new("squeue"), job);
    answers.insert(job.to_owned(), (Instant::now(), answer));
    answer
}

/// Ask Slurm. A suspended job lives; one that waits to be restarted has no process. Without an answer, a job may live.
/// Where there is no Slurm to ask, it does not.
fn ask(squeue: &Path, job: &str) -> bool {
    let options = ["--noheader", "--format=%T", "--jobs", job];
    let Ok(output) = Command::new(squeue).args(options).stdin(Stdio::null()).output() else { return false };
    let (answer, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.success() {
        true => answer.split_whitespace().any(|state| state != "PENDING"),
        // Of a job that ended a while ago.
        false => !error.contains("Invalid job id"),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// The answer to a `squeue` that runs this script.
    fn asked(script: &str) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let [path, beside] = ["squeue", "new"].map(|name| folder.path().join(name));
        std::fs::write(&beside, format!("#!/bin/sh\n[ \"$4\" = 12 ] || exit 1\n{script}\n")).unwrap();
        std::fs::set_permissions(&beside, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::rename(&beside, &path).unwrap();
        ask(&path, "12")
    }

    #[test]
    fn a_job_is_dead_when_slurm_says_so() {
        for state in ["RUNNING", "SUSPENDED", "COMPLETING"] {
            assert!(asked(&format!("echo {state}")), "{state}");
        }
        assert!(!asked("true"), "it has ended");
        assert!(!asked("echo PENDING"), "it waits to be restarted");
        assert!(!asked("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"));
        let away =
            "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1";
        assert!(asked(away), "nothing is known");
        assert!(!ask(Path::new("/nowhere/squeue"), "12"));
    }
}
