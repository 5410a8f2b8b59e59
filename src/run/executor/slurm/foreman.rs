//! An allocation's side: takes orders from the desk, gives them to worker processes, and says what happens.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::pool::Pool;
use super::super::{WorkerDevice, Workers};
use super::desk::{Desk, Graph, Left, Note, WorkerId, allocation, failed, next_order};
use crate::RunError;
use crate::message::{Ending, Message};
use identity::Fingerprint;
use store::Store;
use train::Progress;

/// Interval of signs of life.
const BEAT: Duration = Duration::from_secs(15);

/// Interval of looking for orders while others are being made.
const LOOK: Duration = Duration::from_millis(500);

/// The same while there are none: from the first to the second.
const WAIT: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];

/// Minimum time between two messages about steps.
const STEPS: Duration = Duration::from_secs(1);

/// The place of an allocation.
#[derive(Clone, Debug)]
pub struct Shift {
    /// The worker's id.
    worker: WorkerId,
    /// Its computer.
    host: String,
    /// Mebibytes, if they are limited.
    memory: Option<u64>,
    /// Threads of a stage.
    threads: usize,
    /// How long to wait for orders.
    idle: Duration,
}

impl Shift {
    /// The place that Slurm's environment variables describe, for this number of stages at the same time.
    pub fn from_environment(slots: usize, idle: Duration) -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let number = |name: &str| text(name)?.parse::<u64>().ok();
        let array = text("SLURM_ARRAY_JOB_ID").or_else(|| text("SLURM_JOB_ID")).unwrap_or_else(|| "0".into());
        let index = number("SLURM_ARRAY_TASK_ID").unwrap_or(0);
        let restart = number("SLURM_RESTART_COUNT").unwrap_or(0);
        let cpus = number("SLURM_CPUS_PER_TASK").unwrap_or(1) as usize;
        Self {
            worker: format!("{array}_{index}.{restart}"),
            host: text("SLURMD_NODENAME").or_else(|| text("HOSTNAME")).unwrap_or_default(),
            memory: number("SLURM_MEM_PER_NODE"),
            threads: (cpus / slots.max(1)).max(1),
            idle,
        }
    }
}

/// Works at a desk until there is nothing left, or a signal raises `stop`.
pub struct Foreman<'a> {
    desk: Desk,
    store: &'a Store,
    pool: Pool<'a>,
    shift: Shift,
    /// Stages at the same time.
    slots: usize,
    stop: &'a AtomicBool,
    events: PathBuf,
    graph: (Graph, Option<(std::time::SystemTime, u64)>),
    /// Entries that were seen.
    made: BTreeSet<Fingerprint>,
    /// Orders in progress by slot.
    tasks: BTreeMap<usize, Task>,
    beat: Instant,
    stopping: bool,
}

/// An order in progress.
struct Task {
    of: Fingerprint,
    /// The stage's id, for people.
    stage: String,
    /// Whether its training has got further.
    progressed: bool,
    /// When a message about steps was last passed on.
    said: Option<Instant>,
}

impl<'a> Foreman<'a> {
    /// A foreman at the desk in a folder.
    ///
    /// # Errors
    /// The desk cannot be used.
    pub fn new(
        desk: &Path,
        store: &'a Store,
        workers: &'a Workers,
        shift: Shift,
        stop: &'a AtomicBool,
    ) -> Result<Self, RunError> {
        let desk = Desk::open(desk)?;
        let events = desk.events(&shift.worker);
        let (pool, slots) = (Pool::new(store, workers), workers.devices.len());
        let (graph, made, tasks, stopping) = Default::default();
        let beat = Instant::now();
        Ok(Self { desk, store, pool, shift, slots, stop, events, graph, made, tasks, beat, stopping })
    }

    /// Work.
    ///
    /// # Errors
    /// The desk cannot be used.
    pub fn work(&mut self) -> Result<Left, RunError> {
        let Shift { host, memory, .. } = self.shift.clone();
        self.note(&Note::Arrived { host, memory })?;
        let left = self.make_all()?;
        self.note(&Note::Left(left))?;
        Ok(left)
    }

    fn make_all(&mut self) -> Result<Left, RunError> {
        let (mut idle_since, mut wait) = (Instant::now(), WAIT[0]);
        loop {
            self.beat()?;
            self.look_for_signal();
            self.take_orders()?;
            if !self.tasks.is_empty() {
                if let Some(left) = self.hear()? {
                    return Ok(left);
                }
                (idle_since, wait) = (Instant::now(), WAIT[0]);
                continue;
            }
            if self.stopping {
                return Ok(Left::Stopped);
            }
            if self.desk.open_orders()?.is_empty() {
                return Ok(Left::Finished);
            }
            if idle_since.elapsed() > self.shift.idle {
                return Ok(Left::Idle);
            }
            thread::sleep(wait);
            wait = (wait * 2).min(WAIT[1]);
        }
    }

    /// Handle a message of a worker process; why this worker must leave, if it must.
    fn hear(&mut self) -> Result<Option<Left>, RunError> {
        match self.pool.receive(LOOK) {
            Some((slot, Message::Ended(ending))) => self.end(slot, ending),
            Some((slot, message)) => self.pass_on(slot, message).map(|()| None),
            None => Ok(None),
        }
    }

    fn look_for_signal(&mut self) {
        if !self.stopping && self.stop.load(Ordering::Relaxed) {
            self.stopping = true;
            self.pool.stop();
        }
    }

    fn take_orders(&mut self) -> Result<(), RunError> {
        while !self.stopping
            && let Some(slot) = (0..self.slots).find(|slot| !self.tasks.contains_key(slot))
        {
            let Some(mut order) = self.take()? else { break };
            let of = order.fingerprint;
            order.threads = self.shift.threads;
            self.say(of, Message::Started)?;
            let stage = order.stages.first().cloned().unwrap_or_default();
            tracing::info!("{stage}: started");
            self.tasks.insert(slot, Task { of, stage, progressed: false, said: None });
            if let Err(error) = self.pool.start(slot, slot, order) {
                let message = format!("failed to start a process on {}: {error}", self.shift.host);
                self.end(slot, Ending::Failed(message))?;
            }
        }
        Ok(())
    }

    /// Take the most urgent order.
    fn take(&mut self) -> Result<Option<crate::message::Order>, RunError> {
        loop {
            let open = self.desk.open_orders()?;
            if open.is_empty() {
                return Ok(None);
            }
            self.read_graph()?;
            // Listed later: an order that is taken meanwhile is in at least one of the lists.
            let taken = self.desk.taken_orders()?;
            let (store, made) = (self.store, &mut self.made);
            let is_made =
                |of: &Fingerprint| made.contains(of) || (store.has_appeared(of) && made.insert(*of));
            let memory = self.shift.memory.unwrap_or(u64::MAX);
            let Some(of) = next_order(&self.graph.0, &open, &taken, memory, is_made) else { return Ok(None) };
            if let Some(order) = self.desk.take(of, &self.shift.worker)? {
                return Ok(Some(order));
            }
        }
    }

    /// Read what is to be made, if it has changed.
    fn read_graph(&mut self) -> Result<(), RunError> {
        let metadata = std::fs::metadata(self.desk.root().join("graph.json")).ok();
        let stamp = metadata.and_then(|metadata| Some((metadata.modified().ok()?, metadata.len())));
        if stamp != self.graph.1 || stamp.is_none() {
            self.graph = (self.desk.graph()?, stamp);
        }
        Ok(())
    }

    fn end(&mut self, slot: usize, ending: Ending) -> Result<Option<Left>, RunError> {
        let Some(Task { of, stage, progressed, .. }) = self.tasks.remove(&slot) else { return Ok(None) };
        log(&stage, &ending);
        let left = matches!(ending, Ending::Fatal(_)).then_some(Left::Unable);
        match ending {
            Ending::Interrupted | Ending::Terminated => self.give_back(of, progressed)?,
            Ending::Fatal(message) => self.give_up(of, message)?,
            ending => {
                if matches!(ending, Ending::Executed { .. } | Ending::Found) {
                    self.made.insert(of);
                }
                self.say(of, Message::Ended(ending))?;
                self.desk.finish(&of, &self.shift.worker)?;
            }
        }
        Ok(left)
    }

    /// Put back the order of a stage that was stopped. One that never gets further fails.
    fn give_back(&mut self, of: Fingerprint, progressed: bool) -> Result<(), RunError> {
        if let Some(message) = self.desk.stopped(&of, progressed)? {
            self.say(of, Message::Ended(Ending::Failed(message)))?;
            return self.desk.finish(&of, &self.shift.worker);
        }
        let Shift { worker, host, .. } = &self.shift;
        let message = format!("job {} on {host} was stopped; it goes on in another one", allocation(worker));
        self.desk.give_back(&of, &self.shift.worker)?;
        self.say(of, Message::Returned(message))
    }

    /// No stage can be made here. Another allocation, on another computer, may; if several cannot, the run ends.
    fn give_up(&mut self, of: Fingerprint, message: String) -> Result<(), RunError> {
        let Shift { worker, host, .. } = &self.shift;
        let message = format!("job {} on {host} cannot make stages: {message}", allocation(worker));
        tracing::error!("{message}");
        if self.desk.stopped(&of, false)?.is_some() {
            self.say(of, Message::Ended(Ending::Fatal(message)))?;
            return self.desk.finish(&of, &self.shift.worker);
        }
        self.desk.give_back(&of, &self.shift.worker)?;
        self.say(of, Message::Returned(message))
    }

    /// Pass a message on; of those about steps, some.
    fn pass_on(&mut self, slot: usize, message: Message) -> Result<(), RunError> {
        let Some(task) = self.tasks.get_mut(&slot) else { return Ok(()) };
        if let Message::Progress(progress) = &message {
            task.progressed |= progress.is_continued();
            let is_due = task.said.is_none_or(|said| said.elapsed() >= STEPS);
            if !is_due && !matches!(progress, Progress::Epoch(_)) {
                return Ok(());
            }
            task.said = Some(Instant::now());
        }
        let of = task.of;
        self.say(of, message)
    }

    fn say(&mut self, of: Fingerprint, message: Message) -> Result<(), RunError> {
        self.note(&Note::Said { of, message })
    }

    fn beat(&mut self) -> Result<(), RunError> {
        if self.beat.elapsed() >= BEAT {
            self.note(&Note::Alive)?;
        }
        Ok(())
    }

    /// Write a line at once. The file is closed, so that NFS writes it, too.
    fn note(&mut self, note: &Note) -> Result<(), RunError> {
        self.beat = Instant::now();
        let mut line = serde_json::to_string(note).expect("keys are strings");
        line.push('\n');
        let file = File::options().create(true).append(true).open(&self.events);
        file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(failed(&self.events))
    }
}

/// Note in the allocation's log how a stage ended.
fn log(stage: &str, ending: &Ending) {
    match ending {
        Ending::Executed { seconds } => tracing::info!("{stage}: made in {seconds:.1} s"),
        Ending::Found => tracing::info!("{stage}: was in the store"),
        Ending::Interrupted | Ending::Terminated => tracing::info!("{stage}: stopped"),
        Ending::Failed(message) | Ending::OutOfMemory(message) => {
            tracing::error!("{stage}: failed: {message}");
        }
        // Told with the computer's name.
        Ending::Fatal(_) => {}
    }
}

/// Devices of an allocation: the GPUs that Slurm gave it, or the CPU, shared by this number of stages.
pub fn devices(on_gpu: bool, slots: usize) -> Vec<WorkerDevice> {
    if !on_gpu {
        return vec![WorkerDevice::Cpu; slots.max(1)];
    }
    gpus(&std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default(), slots)
}

/// A device for each of this number of stages, of those in a `CUDA_VISIBLE_DEVICES`; at least one for each GPU.
fn gpus(visible: &str, slots: usize) -> Vec<WorkerDevice> {
    let mut names: Vec<String> = visible.split(',').map(|name| name.trim().to_owned()).collect();
    names.retain(|name| !name.is_empty());
    if names.is_empty() {
        names.push("0".into());
    }
    let count = slots.max(names.len());
    names.into_iter().cycle().take(count).map(WorkerDevice::Cuda).collect()
}

#[cfg(test)]
mod tests;
