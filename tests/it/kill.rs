//! Runs that are killed at any moment, and runs side by side: nothing is lost, mixed up or made twice.
//!
//! More and longer runs: `MEDMERGE_KILLED_RUNS=50 MEDMERGE_KILLED_EPOCHS=120 cargo test --release a_killed_run`; others
//! than before with `MEDMERGE_KILLED_FIRST=50`.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use predicates::str::contains;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::builder::{EXPERIMENT, Workplace};
use crate::pipeline::{STAGES, entries};

/// Runs that are killed.
const RUNS: u64 = 3;

/// Epochs of each training: long enough to be hit in the middle.
const EPOCHS: u64 = 6;

/// A number that an environment variable may set for a longer test.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |number| number.parse().expect("a number"))
}

fn experiment() -> String {
    EXPERIMENT.replace("epochs = 1", &format!("epochs = {}", number("MEDMERGE_KILLED_EPOCHS", EPOCHS)))
}

/// `medmerge run`, as the leader of a process group of its own.
fn start(workplace: &Workplace) -> Child {
    start_with(workplace, Stdio::null())
}

/// The same, with a stderr.
fn start_with(workplace: &Workplace, stderr: Stdio) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medmerge"));
    let command = command.args(["run", "experiment.toml", "--quiet"]).current_dir(workplace.path(""));
    let command = command.env_remove("MEDMERGE_STORE").env_remove("MEDMERGE_RESULTS");
    command.stdout(Stdio::null()).stderr(stderr).process_group(0).spawn().expect("a run")
}

/// Sends a signal to a process, or with `-` before its number to its whole group.
fn signal(signal: &str, target: &str) {
    let kill = format!("kill {signal} -- {target}");
    // The target may have ended by itself.
    Command::new("bash").args(["-c", &kill]).stderr(Stdio::null()).status().expect("a shell");
}

/// Names and contents of files.
pub(crate) type Made = Vec<(String, Vec<u8>)>;

/// Everything that matters of a finished run.
pub(crate) fn made(workplace: &Workplace) -> Made {
    let entries = entries(&workplace.path(".medmerge")).into_iter();
    let mut made: Vec<_> = entries.filter(|(name, _)| !name.ends_with("log.txt")).collect();
    for table in ["metrics.csv", "main.csv", "main.md"] {
        let content = std::fs::read(workplace.path("results/tiny").join(table)).expect("a table");
        made.push((table.into(), content));
    }
    made
}

pub(crate) fn finish(workplace: &Workplace) {
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0).stderr(contains("failed 0, skipped 0"));
    workplace.medmerge(&["store", "verify"]).assert().code(0).stdout(contains("all intact"));
    for folder in ["partial", "staging"] {
        let left = std::fs::read_dir(workplace.path(".medmerge").join(folder)).expect("a folder").count();
        assert_eq!(left, 0, "something is left in {folder}");
    }
}

/// What an undisturbed run makes, and how long it takes. It is made once for all tests.
fn whole() -> &'static (Made, Duration) {
    static WHOLE: OnceLock<(Made, Duration)> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let workplace = Workplace::new(&experiment());
        let start = Instant::now();
        finish(&workplace);
        (made(&workplace), start.elapsed())
    })
}

/// Polls until a condition holds.
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within two minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a stage is in the middle of its training.
pub(crate) fn wait_for_an_epoch(workplace: &Workplace) {
    wait_until("an epoch", || {
        let partials = std::fs::read_dir(workplace.path(".medmerge/partial")).into_iter().flatten();
        let mut logs =
            partials.filter_map(|partial| std::fs::read_to_string(partial.ok()?.path().join("log.txt")).ok());
        logs.any(|log| log.contains("epoch 1"))
    });
}

pub(crate) fn assert_same(made: &[(String, Vec<u8>)], whole: &[(String, Vec<u8>)]) {
    let names = |made: &[(String, Vec<u8>)]| made.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(made), names(whole));
    for ((name, content), (_, expected)) in made.iter().zip(whole) {
        assert!(content == expected, "{name} is not what an undisturbed run makes");
    }
}

/// Closed, full or gone.
fn any_stderr(rng: &mut ChaCha8Rng) -> Stdio {
    let full = || std::fs::File::options().write(true).open("/dev/full").ok();
    match rng.random_range(0..3) {
        0 => full().map_or_else(Stdio::null, Stdio::from),
        // Nobody reads it: it is closed as soon as the run starts.
        1 => std::io::pipe().map_or_else(|_| Stdio::null(), |(_, writer)| Stdio::from(writer)),
        _ => Stdio::null(),
    }
}

/// Kills a run and its workers, hangs up, asks it to end, or kills it after a pause.
fn stop_somehow(rng: &mut ChaCha8Rng, run: &mut Child) {
    let group = format!("-{}", run.id());
    match rng.random_range(0..4) {
        0 => signal("-9", &group),
        1 => signal("-HUP", &group),
        2 => signal("-TERM", &group),
        _ => {
            signal("-STOP", &group);
            signal("-CONT", &group);
            signal("-9", &group);
        }
    }
    run.wait().expect("a run");
}

#[test]
fn a_killed_run_is_finished_with_the_same_bytes() {
    let (whole, time) = whole();
    let first = number("MEDMERGE_KILLED_FIRST", 0);
    for seed in first..first + number("MEDMERGE_KILLED_RUNS", RUNS) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let workplace = Workplace::new(&experiment());
        for _ in 0..rng.random_range(1..=3) {
            let mut run = start_with(&workplace, any_stderr(&mut rng));
            std::thread::sleep(time.mul_f64(rng.random_range(0.0..0.8)));
            stop_somehow(&mut rng, &mut run);
        }
        finish(&workplace);
        assert_same(&made(&workplace), whole);
    }
}

#[test]
fn workers_of_a_killed_run_stop_by_themselves_and_lose_nothing() {
    let (whole, _) = whole();
    let workplace = Workplace::new(&experiment());
    let mut run = start(&workplace);
    wait_for_an_epoch(&workplace);
    signal("-9", &run.id().to_string());
    run.wait().expect("a run");
    finish(&workplace);
    assert_same(&made(&workplace), whole);
}

#[test]
fn an_interrupted_run_ends_with_its_code_and_goes_on() {
    let (whole, _) = whole();
    let workplace = Workplace::new(&experiment());
    let mut run = start(&workplace);
    wait_for_an_epoch(&workplace);
    signal("-TERM", &run.id().to_string());
    assert_eq!(run.wait().expect("a run").code(), Some(130));
    let status = workplace.medmerge(&["status"]).assert().code(0);
    status.stdout(contains("tiny: was interrupted; "));
    finish(&workplace);
    assert_same(&made(&workplace), whole);
}

/// The processes that a process started and that have not ended.
#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<u32> {
    let is_child = |process: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // After the name in parentheses: the state, then the parent.
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let is_alive = fields.next().is_some_and(|state| state != "Z");
        is_alive && fields.next() == Some(parent.to_string().as_str())
    };
    let processes = std::fs::read_dir("/proc").expect("/proc");
    let processes = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes.filter(is_child).collect()
}

/// Starts a run and kills one of its workers as soon as there are so many; its exit code and stderr.
#[cfg(target_os = "linux")]
fn with_a_killed_worker(workplace: &Workplace, jobs: usize) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medmerge"));
    let command = command.args(["run", "experiment.toml", "--jobs", &jobs.to_string()]);
    let command = command.current_dir(workplace.path("")).env_remove("MEDMERGE_STORE");
    let run = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a run");
    wait_until("workers", || children(run.id()).len() == jobs);
    signal("-9", &children(run.id())[0].to_string());
    let output = run.wait_with_output().expect("a run");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_that_is_killed_beside_another_runs_again_alone() {
    let (whole, _) = whole();
    let workplace = Workplace::new(&experiment());
    let (code, stderr) = with_a_killed_worker(&workplace, 2);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("will be retried alone: its process ended with signal: 9"), "{stderr}");
    assert_same(&made(&workplace), whole);
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_that_is_killed_alone_loses_its_stage_and_what_depends_on_it_until_the_next_run() {
    let (whole, _) = whole();
    let workplace = Workplace::new(&experiment());
    let (code, stderr) = with_a_killed_worker(&workplace, 1);
    assert_eq!(code, Some(1), "{stderr}");
    // The other source, and its probe for each of two seeds.
    let last = format!("executed 3, fresh 0, failed 1, skipped {} in ", STAGES - 4);
    assert!(
        stderr.contains("the system killed it, most likely because memory ran out; free some memory"),
        "{stderr}"
    );
    assert!(stderr.contains(&last), "{stderr}");
    finish(&workplace);
    assert_same(&made(&workplace), whole);
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_that_gets_sigterm_loses_its_stage_alone() {
    let workplace = Workplace::new(EXPERIMENT);
    let mut command = Command::new(env!("CARGO_BIN_EXE_medmerge"));
    // Without end, so that the signal comes in its middle.
    let endless = ["--set", "stage.source_a.epochs=1000000", "--only", "source_a", "--only", "probe_b"];
    let command = command.args(["run", "experiment.toml", "--jobs", "1"]).args(endless);
    let command = command.current_dir(workplace.path("")).env_remove("MEDMERGE_STORE");
    let run = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a run");
    wait_for_an_epoch(&workplace);
    let workers = children(run.id());
    assert_eq!(workers.len(), 1);
    signal("-TERM", &workers[0].to_string());
    let output = run.wait_with_output().expect("a run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("failed: source_a: its process was stopped by a signal"), "{stderr}");
    assert!(stderr.contains("executed 3, fresh 0, failed 1, skipped 0 in "), "{stderr}");
}

#[test]
fn a_store_that_is_deleted_under_a_run_is_told_and_the_next_run_starts_anew() {
    let (whole, _) = whole();
    let workplace = Workplace::new(&experiment());
    let mut run = start(&workplace);
    wait_for_an_epoch(&workplace);
    // Workers may be writing into it.
    wait_until("an empty store", || std::fs::remove_dir_all(workplace.path(".medmerge")).is_ok());
    assert_eq!(run.wait().expect("a run").code(), Some(4));
    finish(&workplace);
    assert_same(&made(&workplace), whole);
}

#[test]
fn runs_side_by_side_make_every_stage_once() {
    let (whole, _) = whole();
    for runs in [2, 4] {
        let workplace = Workplace::new(&experiment());
        // Half of them run another experiment, which overlaps: the same stages under another name and one more.
        let extra = "[stage.more.finetune]\nfrom = \"average\"\ndataset = \"xray\"\n";
        let other = experiment().replace("name = \"tiny\"", "name = \"other\"") + extra;
        let workplace = workplace.with("other.toml", other);
        let start = |i: usize| {
            let file = ["experiment.toml", "other.toml"][i % 2];
            let mut command = Command::new(env!("CARGO_BIN_EXE_medmerge"));
            command.args(["run", file]).current_dir(workplace.path("")).env_remove("MEDMERGE_STORE");
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a run")
        };
        let running: Vec<_> = (0..runs).map(start).collect();
        let executed = running.into_iter().map(|run| {
            let output = run.wait_with_output().expect("a run");
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(0), "{stderr}");
            let counts = stderr.lines().last().and_then(|line| line.strip_prefix("executed "));
            let executed = counts.and_then(|counts| counts.split(',').next()).expect("a count");
            executed.parse::<usize>().expect("a number")
        });
        assert_eq!(executed.sum::<usize>(), STAGES + 2, "of {runs} runs");
        std::fs::remove_file(workplace.path("other.toml")).expect("a file");
        finish(&workplace);
        let made: Vec<_> = made(&workplace);
        let made: Vec<_> =
            made.into_iter().filter(|(name, _)| whole.iter().any(|(w, _)| w == name)).collect();
        assert_same(&made, whole);
    }
}
