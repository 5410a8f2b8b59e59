//! Workers on this machine: a process a stage, so that whatever happens to it happens to one stage.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use petgraph::graph::NodeIndex;

use super::message::{Ending, Message, Order};
use super::scheduler::Executor;
use super::{RunError, machine};
use identity::Fingerprint;
use plan::{Plan, PlannedStage};
use store::{Partial, Store};

/// Lines of a log that are shown when a worker died without a word.
const TAIL: usize = 5;

/// What of the system's messages in a log says that memory ran out.
const NO_MEMORY: [&str; 3] = ["memory allocation of", "out of memory", "OUT_OF_MEMORY"];

/// How workers are started.
#[derive(Clone, Debug)]
pub struct Workers {
    /// This program.
    pub program: PathBuf,
    /// Arguments that choose numerics: `--precision tf32`.
    pub arguments: Vec<String>,
    /// Where workers run; a job's device is a position here.
    pub devices: Vec<WorkerDevice>,
}

/// Where a worker runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerDevice {
    /// The processor.
    Cpu,
    /// A GPU, as `CUDA_VISIBLE_DEVICES` names it: the worker sees no other.
    Cuda(String),
}

impl WorkerDevice {
    /// Bytes of its memory that are free; without end if nobody tells.
    pub fn free_memory(&self) -> u64 {
        let free = match self {
            Self::Cpu => machine::memory().map(|(free, _)| free),
            Self::Cuda(name) => machine::gpu_memory(name),
        };
        free.unwrap_or(u64::MAX)
    }
}

/// This program, even if its file is replaced by a newer one meanwhile.
///
/// # Errors
/// The system does not tell.
pub fn this_program() -> std::io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_path_buf()) } else { std::env::current_exe() }
}

/// Starts a process a job and hears them all.
#[derive(Debug)]
pub struct LocalExecutor<'a> {
    plan: &'a Plan,
    /// The stage of each job.
    nodes: &'a [NodeIndex],
    store: &'a Store,
    workers: &'a Workers,
    /// Stdin of what runs: a worker stops when it ends.
    running: HashMap<usize, Option<ChildStdin>>,
    /// What was asked for anew and has been started: stages of the same work do not ask again.
    anew: HashSet<&'a Fingerprint>,
    sender: Sender<(usize, Message)>,
    receiver: Receiver<(usize, Message)>,
}

impl<'a> LocalExecutor<'a> {
    /// An executor whose job `j` is the stage `nodes[j]` of the plan.
    pub fn new(plan: &'a Plan, nodes: &'a [NodeIndex], store: &'a Store, workers: &'a Workers) -> Self {
        let (sender, receiver) = channel();
        let (running, anew) = Default::default();
        Self { plan, nodes, store, workers, running, anew, sender, receiver }
    }

    fn order(&mut self, stage: &'a PlannedStage) -> String {
        let order = Order {
            source: self.plan.experiment.source.as_ref().clone(),
            stage: stage.id.clone(),
            fingerprint: stage.fingerprint.clone(),
            anew: stage.status.is_asked() && self.anew.insert(&stage.fingerprint),
        };
        serde_json::to_string(&order).expect("orders have string keys only")
    }

    fn command(&self, device: usize, threads: usize) -> Command {
        let mut command = Command::new(&self.workers.program);
        command.arg("worker").arg("--store").arg(self.store.root());
        command.arg("--threads").arg(threads.to_string()).args(&self.workers.arguments);
        match &self.workers.devices[device] {
            WorkerDevice::Cpu => command.args(["--device", "cpu"]),
            WorkerDevice::Cuda(name) => {
                command.args(["--device", "cuda:0"]).env("CUDA_VISIBLE_DEVICES", name)
            }
        };
        command
    }
}

impl Executor for LocalExecutor<'_> {
    fn start(&mut self, job: usize, device: usize, threads: usize) -> Result<(), RunError> {
        let plan = self.plan;
        let stage = &plan.graph[self.nodes[job]];
        let order = self.order(stage);
        let partial = self.store.partial(&stage.fingerprint)?;
        let log = partial.open_log()?;
        let mut command = self.command(device, threads);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let start = |source| RunError::Start { stage: stage.id.clone(), source };
        let mut child = command.spawn().map_err(start)?;
        let stdin = child.stdin.take().map(|mut stdin| {
            // A worker that died before it read its order is told of by whoever listens to it.
            let _ = writeln!(stdin, "{order}");
            stdin
        });
        self.running.insert(job, stdin);
        let sender = self.sender.clone();
        thread::spawn(move || listen(job, child, &partial, &sender));
        Ok(())
    }

    fn hear(&mut self, patience: Duration) -> Option<(usize, Message)> {
        let (job, message) = self.receiver.recv_timeout(patience).ok()?;
        if matches!(message, Message::Ended(_)) {
            self.running.remove(&job);
        }
        Some((job, message))
    }

    fn stop(&mut self) {
        self.running.values_mut().for_each(|stdin| drop(stdin.take()));
    }
}

/// Hands on what a worker says; at its end, how it ended. Nobody may be there to hear it any more.
fn listen(job: usize, mut child: Child, partial: &Partial, sender: &Sender<(usize, Message)>) {
    let said_its_last = child.stdout.take().is_some_and(|stdout| hand_on(job, stdout, sender));
    let status = child.wait();
    if !said_its_last {
        let ending = match status {
            Ok(status) => died(status, &partial.log(), &partial.log_path()),
            Err(error) => Ending::Failed(format!("its process was lost: {error}")),
        };
        let _ = sender.send((job, Message::Ended(ending)));
    }
}

/// Whether the worker said how its work ended.
fn hand_on(job: usize, stdout: ChildStdout, sender: &Sender<(usize, Message)>) -> bool {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Message>(&line) else { continue };
        let is_last = matches!(message, Message::Ended(_));
        if sender.send((job, message)).is_err() || is_last {
            return is_last;
        }
    }
    false
}

/// What to make of a worker that died without a word.
fn died(status: ExitStatus, log: &str, path: &Path) -> Ending {
    let tail: VecDeque<&str> = log.lines().rev().take(TAIL).collect();
    let no_memory = tail.iter().any(|line| NO_MEMORY.iter().any(|words| line.contains(words)));
    let tail: String = tail.iter().rev().map(|line| format!("\n    {line}")).collect();
    let tail = match tail.is_empty() {
        true => String::new(),
        false => format!("; its last words, of {}:{tail}", path.display()),
    };
    if no_memory || was_killed(status) {
        let why =
            if no_memory { "it ran out of memory" } else { "the system killed it, most likely for memory" };
        let message = format!(
            "its process ended with {status}: {why}; free some memory, set a smaller `batch_size`, or run with a \
             smaller --jobs{tail}"
        );
        return Ending::OutOfMemory(message);
    }
    Ending::Failed(format!("its process ended with {status}, which it should not; please report it{tail}"))
}

#[cfg(unix)]
fn was_killed(status: ExitStatus) -> bool {
    const SIGKILL: i32 = 9;
    std::os::unix::process::ExitStatusExt::signal(&status) == Some(SIGKILL)
}

#[cfg(not(unix))]
fn was_killed(_: ExitStatus) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_kill_and_a_failed_allocation_are_for_want_of_memory_and_a_crash_is_not() {
        let died = |status, log: &str| died(status, log, Path::new("log.txt"));
        let killed = died(ExitStatus::from_raw(9), "epoch 1\n");
        assert!(matches!(killed, Ending::OutOfMemory(message) if message.contains("most likely for memory")));
        let aborted = ExitStatus::from_raw(6);
        let log = "epoch 1\nmemory allocation of 8 bytes failed\n";
        assert!(
            matches!(died(aborted, log), Ending::OutOfMemory(message) if message.contains("    epoch 1"))
        );
        let Ending::Failed(message) = died(aborted, "one\ntwo\nthree\nfour\nfive\nsix\n") else {
            panic!("a failure")
        };
        assert!(
            message.ends_with("its last words, of log.txt:\n    two\n    three\n    four\n    five\n    six"),
            "{message}"
        );
    }
}
