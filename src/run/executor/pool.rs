//! Worker processes on this machine. A crash affects only the stage that the worker is making. Workers are reused, so
//! that a device, threads and data sets are set up once.
//!
//! The scheduler uses a pool through [`LocalExecutor`](super::local::LocalExecutor), a Slurm allocation directly.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::message::{Ending, Message, Order, Request};
use super::process::{Process, WorkerEvent, WorkerExit, to_line, wait_for};
use super::{WorkerDevice, Workers};
use identity::Fingerprint;
use store::Store;

/// How long an idle worker, which holds memory, is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for released workers to exit and free their memory.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs orders in processes of this program. A job is the number that its messages come back with.
pub struct Pool<'a> {
    store: &'a Store,
    workers: &'a Workers,
    /// Workers that accept orders, by number.
    processes: HashMap<usize, Process>,
    /// Current tasks, by worker number.
    tasks: HashMap<usize, Task>,
    /// Idle workers and since when, most recent last.
    idle: Vec<(usize, Instant)>,
    /// Released workers that may not have exited yet.
    exiting: Vec<JoinHandle<()>>,
    /// Number of workers started so far.
    started: usize,
    sender: Sender<(usize, WorkerEvent)>,
    receiver: Receiver<(usize, WorkerEvent)>,
}

/// The task of a worker.
#[derive(Debug)]
struct Task {
    job: usize,
    slot: usize,
    fingerprint: Fingerprint,
    /// The order, until the worker has accepted it: an idle worker may have died, and then another one takes over.
    order: Option<String>,
}

impl<'a> Pool<'a> {
    /// A pool without workers; they start with the first orders.
    pub fn new(store: &'a Store, workers: &'a Workers) -> Self {
        let (sender, receiver) = channel();
        let (processes, tasks, idle, exiting, started) = Default::default();
        Self { store, workers, processes, tasks, idle, exiting, started, sender, receiver }
    }

    /// Give an order to an idle worker of a slot, or to a new one.
    ///
    /// # Errors
    /// No worker can be started.
    pub fn start(&mut self, job: usize, slot: usize, order: Order) -> io::Result<()> {
        let fingerprint = order.fingerprint;
        let order = to_line(&Request::Make(Box::new(order)));
        match self.take_idle(slot) {
            Some(number) => {
                let task = Task { job, slot, fingerprint, order: Some(order.clone()) };
                self.assign(number, &order, task);
            }
            None => {
                let number = self.start_worker(slot)?;
                self.assign(number, &order, Task { job, slot, fingerprint, order: None });
            }
        }
        Ok(())
    }

    /// The next message about a job, if one arrives before the timeout; the last one is [`Message::Ended`].
    pub fn receive(&mut self, timeout: Duration) -> Option<(usize, Message)> {
        let deadline = Instant::now() + timeout;
        loop {
            self.release_idle();
            let left = deadline.saturating_duration_since(Instant::now());
            let (number, event) = self.receiver.recv_timeout(left).ok()?;
            if let Some(message) = self.handle(number, event) {
                return Some(message);
            }
        }
    }

    /// Ask all workers to stop.
    pub fn stop(&mut self) {
        let stop = to_line(&Request::Stop);
        for number in self.tasks.keys() {
            if let Some(process) = self.processes.get_mut(number) {
                process.send(&stop);
            }
        }
    }

    fn command(&self, slot: usize) -> Command {
        let mut command = Command::new(&self.workers.program);
        // Orders set the number of threads; the global pool is unused.
        command.arg("worker").arg("--store").arg(self.store.root()).args(["--threads", "1"]);
        command.args(&self.workers.arguments);
        match &self.workers.devices[slot] {
            WorkerDevice::Cpu => command.args(["--device", "cpu"]),
            WorkerDevice::Cuda(name) => {
                command.args(["--device", "cuda:0"]).env("CUDA_VISIBLE_DEVICES", name)
            }
        };
        command
    }

    /// Start a worker and return its number.
    fn start_worker(&mut self, slot: usize) -> io::Result<usize> {
        let number = self.started;
        let (command, folder) = (self.command(slot), self.store.root());
        let process = Process::start(command, folder, number, slot, self.sender.clone())?;
        self.processes.insert(number, process);
        self.started += 1;
        Ok(number)
    }

    /// Take the most recently idle worker of a slot.
    fn take_idle(&mut self, slot: usize) -> Option<usize> {
        let position = self.idle.iter().rposition(|(number, _)| self.processes[number].slot == slot)?;
        Some(self.idle.remove(position).0)
    }

    fn assign(&mut self, number: usize, order: &str, task: Task) {
        self.tasks.insert(number, task);
        if let Some(process) = self.processes.get_mut(&number) {
            process.send(order);
        }
    }

    /// Handle what happened to a worker; return its message about its job, if any.
    fn handle(&mut self, number: usize, event: WorkerEvent) -> Option<(usize, Message)> {
        match event {
            WorkerEvent::Message(Message::Started) => {
                self.tasks.get_mut(&number)?.order = None;
                None
            }
            WorkerEvent::Message(Message::Ended(ending)) => {
                let task = self.tasks.remove(&number)?;
                Some(self.finish(number, &task, ending))
            }
            WorkerEvent::Message(message) => Some((self.tasks.get(&number)?.job, message)),
            WorkerEvent::Exited(exit) => self.handle_exit(number, &exit),
        }
    }

    /// Keep a worker after success. After a failure its state is unknown (a GPU context may be corrupt): release it.
    fn finish(&mut self, number: usize, task: &Task, ending: Ending) -> (usize, Message) {
        match ending {
            Ending::Executed { .. } | Ending::Found => self.idle.push((number, Instant::now())),
            _ => self.release(number),
        }
        if matches!(ending, Ending::OutOfMemory(_)) {
            self.release_idle_in(task.slot);
        }
        (task.job, Message::Ended(ending))
    }

    fn handle_exit(&mut self, number: usize, exit: &WorkerExit) -> Option<(usize, Message)> {
        self.idle.retain(|(idle, _)| *idle != number);
        self.processes.remove(&number);
        let Task { job, slot, fingerprint, order } = self.tasks.remove(&number)?;
        if let Some(order) = order {
            return self.reassign(Task { job, slot, fingerprint, order: None }, &order);
        }
        let ending = self.ending(&fingerprint, exit);
        if matches!(ending, Ending::OutOfMemory(_)) {
            self.release_idle_in(slot);
        }
        Some((job, Message::Ended(ending)))
    }

    /// Give the order of a worker that exited before accepting it to a new worker.
    fn reassign(&mut self, task: Task, order: &str) -> Option<(usize, Message)> {
        match self.start_worker(task.slot) {
            Ok(number) => {
                self.assign(number, order, task);
                None
            }
            Err(error) => {
                let message = format!(
                    "failed to start a process: {error}; check free memory and the limit on processes"
                );
                Some((task.job, Message::Ended(Ending::Fatal(message))))
            }
        }
    }

    fn ending(&self, fingerprint: &Fingerprint, exit: &WorkerExit) -> Ending {
        match self.store.partial(fingerprint) {
            Ok(partial) => exit.ending(&partial.log(), &partial.log_path()),
            Err(_) => exit.ending("", &PathBuf::from("its log")),
        }
    }

    fn release(&mut self, number: usize) {
        if let Some(process) = self.processes.remove(&number) {
            self.exiting.push(process.release());
        }
    }

    /// Release workers that have been idle for too long.
    fn release_idle(&mut self) {
        self.exiting.retain(|reader| !reader.is_finished());
        while let Some(&(number, _)) = self.idle.first().filter(|(_, since)| since.elapsed() > IDLE_TIMEOUT) {
            self.idle.remove(0);
            self.release(number);
        }
    }

    /// Release all idle workers of a slot, which frees their memory.
    fn release_idle_in(&mut self, slot: usize) {
        while let Some(number) = self.take_idle(slot) {
            self.release(number);
        }
        wait_for(&self.exiting, EXIT_TIMEOUT);
    }
}

/// Closing stdin makes workers exit. Wait, as they hold memory that the next run may need.
impl Drop for Pool<'_> {
    fn drop(&mut self) {
        self.exiting.extend(self.processes.drain().map(|(_, process)| process.release()));
        wait_for(&self.exiting, EXIT_TIMEOUT);
    }
}
