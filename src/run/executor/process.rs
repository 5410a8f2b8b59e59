//! A worker process: requests, messages, and how its exit is interpreted.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::message::{Ending, Message, Request};

/// Number of log lines shown when a worker exited unexpectedly.
const TAIL_LINES: usize = 5;

/// Messages in a log that indicate that memory ran out.
const OUT_OF_MEMORY: [&str; 3] = ["memory allocation of", "out of memory", "OUT_OF_MEMORY"];

/// Delay before reporting that a worker was terminated: a signal to the whole process group (Ctrl-C) also reaches this
/// process, and must be noticed first.
const SIGNAL_DELAY: Duration = Duration::from_millis(200);

/// Interval for checking whether a process has exited.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Exit code of a worker that handled a signal.
const INTERRUPTED_CODE: i32 = 130;

/// A worker that accepts orders.
#[derive(Debug)]
pub(super) struct Process {
    /// Index of its device.
    pub(super) slot: usize,
    stdin: ChildStdin,
    reader: JoinHandle<()>,
}

/// Something that happened to a worker.
pub(super) enum WorkerEvent {
    /// It sent a message.
    Message(Message),
    /// It exited.
    Exited(WorkerExit),
}

/// How a worker exited.
pub(super) struct WorkerExit {
    status: io::Result<ExitStatus>,
    /// What it wrote to stderr, except for the logs of stages.
    stderr: String,
}

impl Process {
    /// Start a worker and a thread that forwards its messages to `sender`. Stderr goes to an unnamed temporary file in
    /// `folder`.
    pub(super) fn start(
        mut command: Command,
        folder: &Path,
        number: usize,
        slot: usize,
        sender: Sender<(usize, WorkerEvent)>,
    ) -> io::Result<Self> {
        let stderr = tempfile::tempfile_in(folder)?;
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr.try_clone()?);
        let mut child = command.spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (stdin, stdout) = stdin.zip(stdout).expect("both are piped");
        let reader = thread::spawn(move || forward(number, child, stdout, stderr, &sender));
        Ok(Self { slot, stdin, reader })
    }

    /// Send a request. If the worker has died, its reader thread reports it.
    pub(super) fn send(&mut self, request: &str) {
        let _ = self.stdin.write_all(request.as_bytes());
    }

    /// Send no more orders: the worker exits when it is idle. The returned thread ends with it.
    pub(super) fn release(self) -> JoinHandle<()> {
        self.reader
    }
}

/// A request as a line of JSON.
pub(super) fn to_line(request: &Request) -> String {
    let mut line = serde_json::to_string(request).expect("requests have string keys only");
    line.push('\n');
    line
}

/// Wait until all processes with these reader threads have exited, at most until the timeout.
pub(super) fn wait_for(readers: &[JoinHandle<()>], timeout: Duration) {
    let deadline = Instant::now() + timeout;
    while !readers.iter().all(JoinHandle::is_finished) && Instant::now() < deadline {
        thread::sleep(POLL_INTERVAL);
    }
}

/// Forward a worker's messages and its exit. The receiver may be gone.
fn forward(
    number: usize,
    mut child: Child,
    stdout: ChildStdout,
    stderr: File,
    sender: &Sender<(usize, WorkerEvent)>,
) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Message>(&line) else { continue };
        if message == Message::Ended(Ending::Terminated) {
            thread::sleep(SIGNAL_DELAY);
        }
        let _ = sender.send((number, WorkerEvent::Message(message)));
    }
    let status = child.wait();
    if status.as_ref().is_ok_and(|status| was_terminated(*status)) {
        thread::sleep(SIGNAL_DELAY);
    }
    let exit = WorkerExit { status, stderr: content(stderr) };
    let _ = sender.send((number, WorkerEvent::Exited(exit)));
}

fn content(mut file: File) -> String {
    let mut bytes = Vec::new();
    // If it cannot be read, the message has less detail.
    let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

impl WorkerExit {
    /// The result of the stage that the worker was making, which has this log at this path.
    pub(super) fn ending(&self, log: &str, path: &Path) -> Ending {
        match &self.status {
            Ok(status) if was_terminated(*status) => Ending::Terminated,
            Ok(status) => unexpected(*status, &format!("{log}{}", self.stderr), path),
            Err(error) => Ending::Failed(format!("failed to wait for its process: {error}")),
        }
    }
}

/// Interpret the exit of a worker that had not finished its stage.
fn unexpected(status: ExitStatus, log: &str, path: &Path) -> Ending {
    let tail: VecDeque<&str> = log.lines().rev().take(TAIL_LINES).collect();
    let ran_out = tail.iter().any(|line| OUT_OF_MEMORY.iter().any(|words| line.contains(words)));
    let tail: String = tail.iter().rev().map(|line| format!("\n    {line}")).collect();
    let tail = match tail.is_empty() {
        true => String::new(),
        false => format!("; the end of {}:{tail}", path.display()),
    };
    if ran_out || was_killed(status) {
        let why = match ran_out {
            true => "it ran out of memory",
            false => "the system killed it, most likely because memory ran out",
        };
        let message = format!(
            "its process ended with {status}: {why}; free some memory, set a smaller `batch_size`, or run with a \
             smaller --jobs{tail}"
        );
        return Ending::OutOfMemory(message);
    }
    Ending::Failed(format!("its process ended unexpectedly with {status}; please report this as a bug{tail}"))
}

fn was_killed(status: ExitStatus) -> bool {
    const SIGKILL: i32 = 9;
    signal(status) == Some(SIGKILL)
}

/// Whether the process was ended by SIGHUP, SIGINT or SIGTERM.
fn was_terminated(status: ExitStatus) -> bool {
    status.code() == Some(INTERRUPTED_CODE) || matches!(signal(status), Some(1 | 2 | 15))
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_: ExitStatus) -> Option<i32> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn ending(status: i32, stderr: &str) -> Ending {
        let exit = WorkerExit { status: Ok(ExitStatus::from_raw(status)), stderr: stderr.into() };
        exit.ending("epoch 1\n", Path::new("log.txt"))
    }

    #[test]
    fn a_kill_and_a_failed_allocation_mean_out_of_memory_but_a_crash_does_not() {
        assert!(
            matches!(ending(9, ""), Ending::OutOfMemory(message) if message.contains("most likely because memory"))
        );
        let ran_out = ending(6, "memory allocation of 8 bytes failed\n");
        assert!(matches!(ran_out, Ending::OutOfMemory(message) if message.contains("    epoch 1")));
        let Ending::Failed(message) = ending(6, "two\nthree\nfour\nfive\nsix\n") else { panic!("a failure") };
        assert!(
            message.ends_with("the end of log.txt:\n    two\n    three\n    four\n    five\n    six"),
            "{message}"
        );
    }

    #[test]
    fn termination_signals_are_recognized() {
        for status in [1, 2, 15, INTERRUPTED_CODE << 8] {
            assert_eq!(ending(status, ""), Ending::Terminated, "{status}");
        }
        assert!(matches!(ending(1 << 8, ""), Ending::Failed(_)));
    }

    #[test]
    fn messages_are_forwarded_until_the_worker_exits() {
        let mut command = Command::new("bash");
        let script = r#"read -r line; echo "$line" >&2; echo '"started"'; echo 'no message'; exit 3"#;
        command.args(["-c", script]);
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut process = Process::start(command, &std::env::temp_dir(), 7, 0, sender).unwrap();
        process.send("do it\n");
        let (7, WorkerEvent::Message(Message::Started)) = receiver.recv().unwrap() else {
            panic!("a message")
        };
        let (7, WorkerEvent::Exited(exit)) = receiver.recv().unwrap() else { panic!("an exit") };
        let Ending::Failed(message) = exit.ending("", Path::new("log.txt")) else { panic!("a failure") };
        assert!(message.contains("exit status: 3") && message.ends_with("log.txt:\n    do it"), "{message}");
        wait_for(&[process.release()], Duration::from_secs(60));
    }
}
