//! A worker's process: what goes in, what comes out, and what to make of its end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::message::{Ending, Message, Request};

/// Lines of a log that are shown when a worker died without a word.
const TAIL: usize = 5;

/// What of the system's messages in a log says that memory ran out.
const NO_MEMORY: [&str; 3] = ["memory allocation of", "out of memory", "OUT_OF_MEMORY"];

/// A signal to a whole group of processes reaches this one about as soon as the worker. Until then a worker's end is not
/// told: the run's own signal says what it means.
const GRACE: Duration = Duration::from_millis(200);

/// Time between two looks at whether a process has ended.
const INTERVAL: Duration = Duration::from_millis(1);

/// Exit code of a program that ended by a signal that it had a handler for.
const INTERRUPTED: i32 = 130;

/// A worker, as long as it may get orders.
#[derive(Debug)]
pub(super) struct Process {
    /// Where it runs.
    pub(super) slot: usize,
    stdin: ChildStdin,
    listener: JoinHandle<()>,
}

/// What is heard of a worker, with its number.
pub(super) type Heard = (usize, Word);

/// What is heard of a worker.
pub(super) enum Word {
    /// It said something.
    Said(Message),
    /// It is no more, and did not say that its work ended.
    Died(Death),
}

/// How a process ended.
pub(super) struct Death {
    status: io::Result<ExitStatus>,
    /// What it wrote to stderr beside the logs of stages.
    stderr: String,
}

impl Process {
    /// Starts a worker, and hears it. Its stderr goes to a file in `folder`, without a name: it goes when nobody has it
    /// open.
    pub(super) fn start(
        mut command: Command,
        folder: &Path,
        number: usize,
        slot: usize,
        sender: Sender<Heard>,
    ) -> io::Result<Self> {
        let stderr = tempfile::tempfile_in(folder)?;
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr.try_clone()?);
        let mut child = command.spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (stdin, stdout) = stdin.zip(stdout).expect("both are piped");
        let listener = thread::spawn(move || listen(number, child, stdout, stderr, &sender));
        Ok(Self { slot, stdin, listener })
    }

    /// Hands it a request. If it died, whoever listens to it tells.
    pub(super) fn ask(&mut self, request: &str) {
        let _ = self.stdin.write_all(request.as_bytes());
    }

    /// It gets no more orders, and ends when it has nothing to do.
    pub(super) fn let_go(self) -> JoinHandle<()> {
        self.listener
    }
}

/// A request as a line.
pub(super) fn line(request: &Request) -> String {
    let mut line = serde_json::to_string(request).expect("requests have string keys only");
    line.push('\n');
    line
}

/// Waits until these processes have ended, up to a time.
pub(super) fn wait_for(listeners: &[JoinHandle<()>], patience: Duration) {
    let deadline = Instant::now() + patience;
    while !listeners.iter().all(JoinHandle::is_finished) && Instant::now() < deadline {
        thread::sleep(INTERVAL);
    }
}

/// Hands on what a worker says, and its end. Nobody may be there to hear it any more.
fn listen(number: usize, mut child: Child, stdout: ChildStdout, stderr: File, sender: &Sender<Heard>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Message>(&line) else { continue };
        if message == Message::Ended(Ending::Terminated) {
            thread::sleep(GRACE);
        }
        let _ = sender.send((number, Word::Said(message)));
    }
    let status = child.wait();
    if status.as_ref().is_ok_and(|status| was_terminated(*status)) {
        thread::sleep(GRACE);
    }
    let _ = sender.send((number, Word::Died(Death { status, stderr: content(stderr) })));
}

fn content(mut file: File) -> String {
    let mut bytes = Vec::new();
    // What cannot be read is missing among the last words.
    let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Death {
    /// What it means for the stage that the worker was making: one with this log, which lies there.
    pub(super) fn ending(&self, log: &str, path: &Path) -> Ending {
        match &self.status {
            Ok(status) if was_terminated(*status) => Ending::Terminated,
            Ok(status) => died(*status, &format!("{log}{}", self.stderr), path),
            Err(error) => Ending::Failed(format!("its process was lost: {error}")),
        }
    }
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

fn was_killed(status: ExitStatus) -> bool {
    const SIGKILL: i32 = 9;
    signal(status) == Some(SIGKILL)
}

/// Whether a signal asked the process to end: SIGHUP, SIGINT or SIGTERM.
fn was_terminated(status: ExitStatus) -> bool {
    status.code() == Some(INTERRUPTED) || matches!(signal(status), Some(1 | 2 | 15))
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
        let death = Death { status: Ok(ExitStatus::from_raw(status)), stderr: stderr.into() };
        death.ending("epoch 1\n", Path::new("log.txt"))
    }

    #[test]
    fn a_kill_and_a_failed_allocation_are_for_want_of_memory_and_a_crash_is_not() {
        assert!(
            matches!(ending(9, ""), Ending::OutOfMemory(message) if message.contains("most likely for memory"))
        );
        let no_memory = ending(6, "memory allocation of 8 bytes failed\n");
        assert!(matches!(no_memory, Ending::OutOfMemory(message) if message.contains("    epoch 1")));
        let Ending::Failed(message) = ending(6, "two\nthree\nfour\nfive\nsix\n") else { panic!("a failure") };
        assert!(
            message.ends_with("its last words, of log.txt:\n    two\n    three\n    four\n    five\n    six"),
            "{message}"
        );
    }

    #[test]
    fn a_signal_to_end_is_told_apart() {
        for status in [1, 2, 15, INTERRUPTED << 8] {
            assert_eq!(ending(status, ""), Ending::Terminated, "{status}");
        }
        assert!(matches!(ending(1 << 8, ""), Ending::Failed(_)));
    }

    #[test]
    fn a_worker_is_heard_to_its_end() {
        let mut command = Command::new("bash");
        let script = r#"read -r line; echo "$line" >&2; echo '"begun"'; echo 'no message'; exit 3"#;
        command.args(["-c", script]);
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut process = Process::start(command, &std::env::temp_dir(), 7, 0, sender).unwrap();
        process.ask("do it\n");
        let (7, Word::Said(Message::Begun)) = receiver.recv().unwrap() else { panic!("a message") };
        let (7, Word::Died(death)) = receiver.recv().unwrap() else { panic!("an end") };
        let Ending::Failed(message) = death.ending("", Path::new("log.txt")) else { panic!("a failure") };
        assert!(message.contains("exit status: 3") && message.ends_with("log.txt:\n    do it"), "{message}");
        wait_for(&[process.let_go()], Duration::from_secs(60));
    }
}
