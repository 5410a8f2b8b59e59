//! A Slurm of this machine alone, and runs on it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::builder::Workplace;
use crate::not_tested::{Need, not_tested};

/// Set where a Slurm may be set up on the machine.
const ALLOWED: &str = "MEDMERGE_TEST_SLURM";

/// The cluster, for one test at a time: some stop its controller or its node.
pub(crate) struct Cluster {
    _turn: MutexGuard<'static, ()>,
    /// Jobs that wait for a time, and since when.
    late: RefCell<BTreeMap<String, Instant>>,
}

impl Cluster {
    /// The cluster; `None` where there can be none, which is noted.
    pub(crate) fn take() -> Option<Self> {
        static TURN: Mutex<()> = Mutex::new(());
        static WHY_NOT: OnceLock<Option<String>> = OnceLock::new();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = WHY_NOT.get_or_init(why_not) {
            not_tested(Need::Slurm, why);
            return None;
        }
        let cluster = Self { _turn: turn, late: RefCell::default() };
        // Of a test that failed.
        cluster.set_up("start-controller");
        cluster.call("scancel", &["--user=root"]);
        cluster.call("scontrol", &["update", "NodeName=ALL", "State=RESUME"]);
        cluster.wait_until("an empty queue", || cluster.queue().is_empty());
        Some(cluster)
    }

    /// What `tests/slurm/setup.sh` does.
    pub(crate) fn set_up(&self, what: &str) {
        assert!(set_up(what).is_ok(), "setup.sh {what}");
    }

    /// What a program of Slurm answers.
    pub(crate) fn call(&self, program: &str, arguments: &[&str]) -> String {
        let output =
            Command::new(program).args(arguments).stdin(Stdio::null()).output().expect("a program of Slurm");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Jobs in the queue: id, name and state.
    pub(crate) fn queue(&self) -> Vec<[String; 3]> {
        let answer = self.call("squeue", &["--noheader", "--array", "--format=%i %j %T"]);
        let words =
            |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().try_into().ok();
        answer.lines().filter_map(words).collect()
    }

    /// The id of a job of medmerge in this state.
    pub(crate) fn job(&self, state: &str) -> Option<String> {
        let queue = self.queue();
        queue
            .iter()
            .find(|[_, name, of]| name.starts_with("medmerge") && of == state)
            .map(|[id, ..]| id.clone())
    }

    /// Give the node a state.
    pub(crate) fn set_node(&self, state: &str) {
        let nodes = self.call("sinfo", &["--noheader", "--format=%n"]);
        let node = format!("NodeName={}", nodes.lines().next().expect("a node"));
        self.call("scontrol", &["update", &node, &format!("State={state}"), "Reason=test"]);
    }

    /// Polls until a condition holds. Slurm makes requeued jobs wait for two minutes: not here.
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(400);
        while !condition() {
            assert!(Instant::now() < deadline, "{what}: not in time; the queue: {:?}", self.queue());
            std::thread::sleep(Duration::from_millis(200));
            self.hurry();
        }
    }

    /// Let jobs start that wait for a time, once their node has put away their last attempt.
    fn hurry(&self) {
        const PUT_AWAY: Duration = Duration::from_secs(3);
        let answer = self.call("squeue", &["--noheader", "--array", "--states=PENDING", "--format=%i %r"]);
        let waiting: Vec<&str> = answer.lines().filter_map(|line| line.strip_suffix(" BeginTime")).collect();
        let mut late = self.late.borrow_mut();
        late.retain(|id, _| waiting.contains(&id.as_str()));
        for id in waiting {
            if late.entry(id.to_owned()).or_insert_with(Instant::now).elapsed() > PUT_AWAY {
                self.call("scontrol", &["update", &format!("JobId={id}"), "StartTime=now"]);
            }
        }
    }

    /// Waits until a process has ended; its exit code.
    pub(crate) fn wait_for(&self, head: &mut Head) -> Option<i32> {
        let process = RefCell::new(&mut head.process);
        let ended = || process.borrow_mut().try_wait().expect("a run");
        self.wait_until("the end of a run", || ended().is_some());
        ended().and_then(|status| status.code())
    }

    /// Waits until nothing is in the queue.
    pub(crate) fn is_left_empty(&self) {
        self.wait_until("an empty queue", || self.queue().is_empty());
    }
}

/// Why there is no cluster here.
fn why_not() -> Option<String> {
    if std::env::var_os(ALLOWED).is_none() {
        return Some(format!(
            "{ALLOWED} is not set: with it, a Slurm is set up on this machine, which takes root"
        ));
    }
    set_up("start").err()
}

fn set_up(what: &str) -> Result<(), String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slurm/setup.sh");
    let mut command = Command::new("bash");
    // Its daemons would keep a pipe open.
    let stderr = tempfile::NamedTempFile::new().expect("a file");
    let output = stderr.reopen().expect("a file");
    let status =
        command.arg(script).arg(what).stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).status();
    let said = std::fs::read_to_string(stderr.path()).unwrap_or_default();
    match status.expect("bash").code() {
        Some(0) => Ok(()),
        Some(3) => Err(said.trim().to_owned()),
        code => panic!("setup.sh {what} ended with {code:?}: {said}"),
    }
}

/// A run on the cluster, whose stderr is a file.
pub(crate) struct Head {
    process: Child,
    stderr: PathBuf,
}

impl Head {
    /// Start `medmerge run experiment.toml --executor slurm` and these arguments.
    pub(crate) fn start(workplace: &Workplace, arguments: &[&str]) -> Self {
        Self::start_with(workplace, arguments, |command| command)
    }

    /// The same, with changes of the command.
    pub(crate) fn start_with(
        workplace: &Workplace,
        arguments: &[&str],
        change: impl Fn(&mut Command) -> &mut Command,
    ) -> Self {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let stderr = workplace.path(&format!("stderr-{number}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_medmerge"));
        command.args(["run", "experiment.toml", "--executor", "slurm"]).args(arguments);
        for [flag, value] in [["--slurm-cpus", "1"], ["--slurm-query", "4"]] {
            if !arguments.contains(&flag) {
                command.args([flag, value]);
            }
        }
        command.current_dir(workplace.path("")).env("HOME", workplace.path(""));
        for name in ["MEDMERGE_STORE", "MEDMERGE_RESULTS", "XDG_CONFIG_HOME", "RUST_LOG"] {
            command.env_remove(name);
        }
        let file = std::fs::File::create(&stderr).expect("a file");
        let process = change(command.stdout(Stdio::null()).stderr(file)).spawn().expect("a run");
        Self { process, stderr }
    }

    /// Send a signal.
    pub(crate) fn signal(&self, signal: &str) {
        kill(signal, self.process.id());
    }

    /// Kill it.
    pub(crate) fn kill(&mut self) {
        self.signal("-9");
        self.process.wait().expect("a run");
    }

    /// Wait until it has ended, for so many seconds; its exit code.
    pub(crate) fn wait(&mut self, seconds: u64) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait().expect("a run") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.kill();
        panic!("a run did not end within {seconds} s: {}", self.stderr());
    }

    /// What it wrote to stderr.
    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).expect("its stderr")
    }
}

/// Send a signal to a process, which may have ended.
pub(crate) fn kill(signal: &str, process: u32) {
    Command::new("kill").args([signal, &process.to_string()]).stderr(Stdio::null()).status().expect("kill");
}

/// The folder of orders and logs of a run on a cluster.
pub(crate) fn desk(workplace: &Workplace) -> PathBuf {
    workplace.path(".medmerge/slurm/tiny")
}

/// Calls of a program of Slurm by runs: seconds since 1970 (of the same day), in order.
pub(crate) fn calls(workplace: &Workplace, program: &str) -> Vec<String> {
    let calls = std::fs::read_to_string(desk(workplace).join("calls.log")).unwrap_or_default();
    calls.lines().filter(|line| line.split(' ').nth(1) == Some(program)).map(str::to_owned).collect()
}

/// The number of allocations that were asked for: elements of job arrays.
pub(crate) fn elements(workplace: &Workplace) -> usize {
    let last = |call: String| -> Option<usize> {
        let range = call.split("--array=0-").nth(1)?;
        range.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    calls(workplace, "sbatch").into_iter().filter_map(last).map(|last| last + 1).sum()
}

/// The log of each allocation.
pub(crate) fn log_files(workplace: &Workplace) -> Vec<String> {
    let logs = std::fs::read_dir(desk(workplace).join("logs")).into_iter().flatten();
    logs.filter_map(|log| std::fs::read_to_string(log.ok()?.path()).ok()).collect()
}

/// The lines of all logs of allocations.
pub(crate) fn log(workplace: &Workplace) -> String {
    log_files(workplace).concat()
}

/// The number of stages that allocations made; each once. A stage whose allocation was killed when it had just been
/// made is found in the store by the next one.
pub(crate) fn stages_made(workplace: &Workplace) -> usize {
    let text = log(workplace);
    let stages = |said: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.split_once(said));
        lines.filter_map(|(line, _)| Some(line.rsplit(' ').next()?.to_owned())).collect()
    };
    let made = stages(": made in ");
    let mut all: BTreeSet<_> = made.iter().cloned().collect();
    assert_eq!(all.len(), made.len(), "a stage was made twice: {text}");
    all.extend(stages(": was in the store"));
    all.len()
}

/// Processes of allocations that serve this workplace, or of their workers.
pub(crate) fn workers(workplace: &Workplace, of_allocation: bool) -> Vec<u32> {
    let store = workplace.path(".medmerge");
    let store = store.canonicalize().unwrap_or(store).display().to_string();
    let is_one = |process: &u32| {
        let words = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        words.contains("\0worker\0")
            && words.contains(&store)
            && words.contains("\0--desk\0") == of_allocation
    };
    let processes = std::fs::read_dir("/proc").expect("/proc");
    processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(is_one).collect()
}
