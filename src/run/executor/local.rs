//! Workers on this machine: processes, so that whatever happens to one happens to the stage that it is making and to no
//! other. They are kept between stages, for what they have prepared: a device, threads, data sets.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::RunError;
use super::super::message::{Ending, Message, Request};
use super::super::order::Orders;
use super::process::{Death, Heard, Process, Word, line, wait_for};
use super::{Capacity, Executor, WorkerDevice, Workers};
use identity::Fingerprint;
use store::Store;

/// How long a worker is kept that has nothing to do: it holds memory.
const IDLE: Duration = Duration::from_secs(10);

/// How long a worker that was let go is waited for before others need its memory.
const FAREWELL: Duration = Duration::from_secs(5);

/// Does jobs by processes of this program.
pub struct LocalExecutor<'a> {
    orders: Orders<'a>,
    store: &'a Store,
    workers: &'a Workers,
    /// Those that may get orders, by their numbers.
    processes: HashMap<usize, Process>,
    /// What they are making.
    tasks: HashMap<usize, Task>,
    /// Those without a task, and since when; the latest at the end.
    idle: Vec<(usize, Instant)>,
    /// Those that were let go.
    leaving: Vec<JoinHandle<()>>,
    /// Workers started so far.
    started: usize,
    sender: Sender<Heard>,
    receiver: Receiver<Heard>,
}

/// What a worker is making.
#[derive(Debug)]
struct Task {
    job: usize,
    slot: usize,
    fingerprint: Fingerprint,
    /// The order, while a new worker could take it over: a worker that had been idle may have died before it came.
    order: Option<String>,
}

impl<'a> LocalExecutor<'a> {
    /// An executor for the jobs of these orders.
    pub fn new(orders: Orders<'a>, store: &'a Store, workers: &'a Workers) -> Self {
        let (sender, receiver) = channel();
        let (processes, tasks, idle, leaving, started) = Default::default();
        Self { orders, store, workers, processes, tasks, idle, leaving, started, sender, receiver }
    }

    fn command(&self, slot: usize) -> Command {
        let mut command = Command::new(&self.workers.program);
        // Orders say how many threads to compute with; the program's own pool has nothing to do.
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

    /// A new worker's number.
    fn hire(&mut self, slot: usize, job: usize) -> Result<usize, RunError> {
        let number = self.started;
        let (command, folder) = (self.command(slot), self.store.root());
        let process = Process::start(command, folder, number, slot, self.sender.clone());
        let failed = |source| RunError::Start { stage: self.orders.id(job).to_owned(), source };
        self.processes.insert(number, process.map_err(failed)?);
        self.started += 1;
        Ok(number)
    }

    /// The worker of a slot that became idle last.
    fn idle_in(&mut self, slot: usize) -> Option<usize> {
        let position = self.idle.iter().rposition(|(number, _)| self.processes[number].slot == slot)?;
        Some(self.idle.remove(position).0)
    }

    fn hand(&mut self, number: usize, order: &str, task: Task) {
        self.tasks.insert(number, task);
        if let Some(process) = self.processes.get_mut(&number) {
            process.ask(order);
        }
    }

    /// What of a worker's word concerns its job.
    fn take(&mut self, number: usize, word: Word) -> Option<(usize, Message)> {
        match word {
            Word::Said(Message::Begun) => {
                self.tasks.get_mut(&number)?.order = None;
                None
            }
            Word::Said(Message::Ended(ending)) => {
                let task = self.tasks.remove(&number)?;
                Some(self.end(number, &task, ending))
            }
            Word::Said(message) => Some((self.tasks.get(&number)?.job, message)),
            Word::Died(death) => self.bury(number, &death),
        }
    }

    /// Keeps a worker whose work came to a good end. Nobody knows what state another one is in: a GPU may be poisoned.
    fn end(&mut self, number: usize, task: &Task, ending: Ending) -> (usize, Message) {
        match ending {
            Ending::Executed { .. } | Ending::Found => self.idle.push((number, Instant::now())),
            _ => self.let_go(number),
        }
        if matches!(ending, Ending::OutOfMemory(_)) {
            self.make_room(task.slot);
        }
        (task.job, Message::Ended(ending))
    }

    fn bury(&mut self, number: usize, death: &Death) -> Option<(usize, Message)> {
        self.idle.retain(|(idle, _)| *idle != number);
        self.processes.remove(&number);
        let Task { job, slot, fingerprint, order } = self.tasks.remove(&number)?;
        if let Some(order) = order {
            return self.hand_anew(Task { job, slot, fingerprint, order: None }, &order);
        }
        let ending = self.ending(&fingerprint, death);
        if matches!(ending, Ending::OutOfMemory(_)) {
            self.make_room(slot);
        }
        Some((job, Message::Ended(ending)))
    }

    /// The worker died before it read its order; another one takes it over.
    fn hand_anew(&mut self, task: Task, order: &str) -> Option<(usize, Message)> {
        match self.hire(task.slot, task.job) {
            Ok(number) => {
                self.hand(number, order, task);
                None
            }
            Err(error) => Some((task.job, Message::Ended(Ending::Stopped(error.to_string())))),
        }
    }

    fn ending(&self, fingerprint: &Fingerprint, death: &Death) -> Ending {
        match self.store.partial(fingerprint) {
            Ok(partial) => death.ending(&partial.log(), &partial.log_path()),
            Err(_) => death.ending("", &PathBuf::from("its log")),
        }
    }

    fn let_go(&mut self, number: usize) {
        if let Some(process) = self.processes.remove(&number) {
            self.leaving.push(process.let_go());
        }
    }

    /// Lets go of workers that had nothing to do for a while.
    fn let_idle_go(&mut self) {
        self.leaving.retain(|listener| !listener.is_finished());
        while let Some(&(number, _)) = self.idle.first().filter(|(_, since)| since.elapsed() > IDLE) {
            self.idle.remove(0);
            self.let_go(number);
        }
    }

    /// Memory ran out: whoever has nothing to do in a slot gives back what it holds.
    fn make_room(&mut self, slot: usize) {
        while let Some(number) = self.idle_in(slot) {
            self.let_go(number);
        }
        wait_for(&self.leaving, FAREWELL);
    }
}

impl Executor for LocalExecutor<'_> {
    fn capacity(&self) -> Capacity {
        let devices = &self.workers.devices;
        Capacity {
            memory: devices.iter().map(WorkerDevice::free_memory).collect(),
            shares_threads: matches!(devices[..], [WorkerDevice::Cpu]),
        }
    }

    fn start(&mut self, job: usize, slot: usize, threads: usize) -> Result<(), RunError> {
        let order = self.orders.order(job, threads);
        let fingerprint = order.fingerprint;
        let order = line(&Request::Make(Box::new(order)));
        match self.idle_in(slot) {
            Some(number) => {
                let task = Task { job, slot, fingerprint, order: Some(order.clone()) };
                self.hand(number, &order, task);
            }
            None => {
                let number = self.hire(slot, job)?;
                self.hand(number, &order, Task { job, slot, fingerprint, order: None });
            }
        }
        Ok(())
    }

    fn hear(&mut self, patience: Duration) -> Option<(usize, Message)> {
        let deadline = Instant::now() + patience;
        loop {
            self.let_idle_go();
            let left = deadline.saturating_duration_since(Instant::now());
            let (number, word) = self.receiver.recv_timeout(left).ok()?;
            if let Some(heard) = self.take(number, word) {
                return Some(heard);
            }
        }
    }

    fn stop(&mut self) {
        let stop = line(&Request::Stop);
        for number in self.tasks.keys() {
            if let Some(process) = self.processes.get_mut(number) {
                process.ask(&stop);
            }
        }
    }
}

/// The end of stdin tells workers to go. They hold memory that the next run may need.
impl Drop for LocalExecutor<'_> {
    fn drop(&mut self) {
        self.leaving.extend(self.processes.drain().map(|(_, process)| process.let_go()));
        wait_for(&self.leaving, FAREWELL);
    }
}
