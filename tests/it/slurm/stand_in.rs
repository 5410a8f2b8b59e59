//! Runs with scripts that stand in for Slurm's programs: what no Slurm of one machine does when it is asked to.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::cluster::{Head, desk};
use crate::builder::{EXPERIMENT, Workplace};

/// A program in the workplace's `bin` that runs this script; the `PATH` with it.
pub(super) fn stand_in(workplace: &Workplace, name: &str, script: &str) -> OsString {
    let folder = workplace.path("bin");
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/bash\n{script}\n")).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    let mut all = folder.into_os_string();
    all.push(":");
    all.push(std::env::var_os("PATH").unwrap_or_default());
    all
}

/// Accepts an allocation, which takes an order, begins to work on it, and ends in `$state`.
const ACCEPT: &str = r#"
[ "$1" = --test-only ] && exit
script="${@: -1}"
grep -h '^#SBATCH --mem=' "$script" >>memory
id=$(($(wc -l <memory)))
token=$(sed -n 's/^#SBATCH --comment=//p' "$script")
desk=.medmerge/slurm/tiny
of=$(ls $desk/orders | head -n 1)
mv $desk/orders/$of $desk/taken/$of.${id}_0.0
say() { echo "{\"said\":{\"of\":\"$of\",\"message\":$1}}"; }
{
    say '"started"'
    say '{"progress":{"progress":"count","done":1,"of":2,"what":"images"}}'
} >$desk/events/${id}_0.0.jsonl
echo "${id}_0|$state|None|$token" >>jobs
echo $id
"#;

/// A workplace whose Slurm accepts allocations, which all end in a state; the `PATH` with it.
fn accepting(state: &str) -> (Workplace, OsString) {
    let workplace = Workplace::new(EXPERIMENT);
    stand_in(&workplace, "sbatch", &format!("state={state}\n{ACCEPT}"));
    stand_in(&workplace, "sacct", "exit 1");
    stand_in(&workplace, "scancel", "exit 0");
    let path = stand_in(&workplace, "squeue", "touch jobs; cat jobs");
    (workplace, path)
}

fn start(workplace: &Workplace, path: &OsString, arguments: &[&str]) -> Head {
    let all = [&["--slurm-query", "1", "--only", "source_a"], arguments].concat();
    Head::start_with(workplace, &all, |command| command.env("PATH", path))
}

/// Lines that the programs wrote to a file.
fn lines(workplace: &Workplace, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(workplace.path(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_stage_that_starts_over_in_each_allocation_fails_after_the_third() {
    let (workplace, path) = accepting("TIMEOUT");
    let mut head = start(&workplace, &path, &[]);
    assert_eq!(head.wait(60), Some(1), "{}", head.stderr());
    let stderr = head.stderr();
    assert!(stderr.contains("it was stopped 3 times in a row without getting any further"), "{stderr}");
    assert!(stderr.contains("set a longer `time`"), "{stderr}");
    assert_eq!(lines(&workplace, "memory").len(), 3, "three allocations: {stderr}");
}

#[test]
fn a_stage_gets_twice_as_much_memory_at_most_three_times() {
    let (workplace, path) = accepting("OUT_OF_MEMORY");
    let mut head = start(&workplace, &path, &["--slurm-memory", "400M"]);
    assert_eq!(head.wait(60), Some(1), "{}", head.stderr());
    let asked = [400, 800, 1600, 3200].map(|memory| format!("#SBATCH --mem={memory}M"));
    assert_eq!(lines(&workplace, "memory"), asked, "{}", head.stderr());
    assert!(head.stderr().contains("it had 3200 MiB; set more `memory`"), "{}", head.stderr());
}

#[test]
fn a_refusal_after_the_first_allocation_is_a_refusal() {
    let (workplace, path) = accepting("NODE_FAIL");
    let refuse = "if [ -e jobs ] && [ -s jobs ]; then\n\
                  echo 'sbatch: error: invalid partition specified: gone' >&2; exit 1; fi";
    stand_in(&workplace, "sbatch", &format!("state=NODE_FAIL\n{refuse}\n{ACCEPT}"));
    let mut head = start(&workplace, &path, &[]);
    assert_eq!(head.wait(60), Some(2), "{}", head.stderr());
    let stderr = head.stderr();
    assert!(stderr.contains("Slurm refuses an allocation with ") && stderr.contains("gone"), "{stderr}");
    assert_eq!(lines(&workplace, "memory").len(), 1);
}

#[test]
fn a_run_that_was_killed_while_it_submitted_submits_nothing_twice() {
    let (workplace, path) = accepting("RUNNING");
    let slow = "[ \"$1\" = --test-only ] && exit\necho >>begun\nsleep 4";
    stand_in(&workplace, "sbatch", &format!("state=RUNNING\n{slow}\n{ACCEPT}"));
    let mut head = start(&workplace, &path, &[]);
    wait_until("a submission", || !lines(&workplace, "begun").is_empty());
    head.kill();
    let mut head = start(&workplace, &path, &[]);
    let found = "1 allocation of an earlier run found";
    wait_until("what was submitted", || {
        head.stderr().contains(found) || lines(&workplace, "begun").len() > 1
    });
    std::thread::sleep(Duration::from_secs(3));
    head.kill();
    assert_eq!(lines(&workplace, "begun").len(), 1, "{}", head.stderr());
    assert!(head.stderr().contains(found), "{}", head.stderr());
    let records: Vec<PathBuf> = std::fs::read_dir(desk(&workplace).join("submissions"))
        .expect("records")
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    assert_eq!(records.len(), 1);
}
