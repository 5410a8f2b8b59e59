//! Jobs in allocations of a Slurm cluster whose nodes share the store's folder.
//!
//! | file | what |
//! |---|---|
//! | [`settings`] | `[executor.slurm]` and its flags |
//! | `packing` | the number of allocations for some stages; pure |
//! | [`script`] | what an allocation asks for; its batch script |
//! | `client` | calls Slurm's programs and reads their answers |
//! | `state` | states of jobs, and what they mean |
//! | `queue` | the run's allocations: submits, asks, cancels |
//! | `desk` | the folder where the run and its allocations exchange orders and messages |
//! | `appearing` | entries that workers have made, until they are seen in the store |
//! | `hearing`, `take_back`, `top_up`, `close` | what the run does: when workers speak, when they die, when there are too few, at its end |
//! | [`foreman`] | an allocation's side |
//! | [`overview`] | how stages stand, read from the desk |
//!
//! The run's side is [`SlurmExecutor`]. It writes all orders to the desk, submits allocations, and reads what their
//! workers say. Whether a stage is made follows from the desk and the store, never from Slurm, which is asked once a
//! minute for what no worker can say: that it is dead.

mod appearing;
mod client;
mod close;
mod desk;
pub mod foreman;
mod hearing;
pub mod overview;
mod packing;
mod queue;
pub mod script;
pub mod settings;
mod state;
mod take_back;
mod top_up;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Capacity, Executor, Parallel, Started, Work};
use crate::RunError;
use crate::message::{Ending, Message};
use crate::scheduler::Job;
use appearing::Appearing;
pub use desk::Left;
use desk::{Desk, Graph, Node, Note, Tails, WorkerId};
use identity::Fingerprint;
use packing::allocations;
use plan::makespan;
use queue::Allocations;
use script::Request;
pub use settings::Settings;
use store::{Lock, Store};

/// Interval of reading what workers say: while they talk, and while they do not.
const READ: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// How long a stopped run waits for workers to save and leave.
const LEAVE: Duration = Duration::from_secs(60);

/// How long a finished run waits for workers to notice.
const NOTICE: Duration = Duration::from_secs(8);

/// How often a stage that ran out of memory is tried again with twice as much.
const MORE_MEMORY: u32 = 3;

/// Runs jobs in allocations.
pub struct SlurmExecutor<'a> {
    work: Work<'a>,
    request: Request,
    desk: Desk,
    /// There is one run at a desk.
    _at_desk: Lock,
    tails: Tails,
    allocations: Allocations,
    /// Fingerprints of jobs, and the jobs of each.
    fingerprints: Vec<Fingerprint>,
    jobs: HashMap<Fingerprint, Vec<usize>>,
    /// Orders by their state.
    orders: BTreeMap<Fingerprint, Status>,
    /// Jobs that the scheduler waits for.
    awaited: BTreeSet<usize>,
    inbox: VecDeque<(usize, Message)>,
    /// Entries that must appear before their jobs have ended.
    appearing: Appearing,
    /// Mebibytes that an order needs, since it ran out of less.
    more_memory: BTreeMap<Fingerprint, u64>,
    tested: bool,
    stopping: Option<Stopping>,
    detached: bool,
    pause: Duration,
}

/// What is known of an order.
#[derive(Clone, Debug, PartialEq)]
enum Status {
    /// Nobody has taken it.
    Open,
    /// A worker makes it.
    Taken(WorkerId),
    /// A worker says that it has made it; the entry must appear.
    Made,
    /// It has ended.
    Ended(Ending),
}

/// A run that ends early.
#[derive(Debug)]
struct Stopping {
    until: Instant,
}

/// What would be submitted for these jobs, for people.
pub fn preview(jobs: &[Job], settings: &Settings, workers: &super::Workers) -> String {
    let request = Request::new(settings, jobs, workers);
    let count = allocations(&timed(jobs), &request.packing());
    let seconds: f64 = jobs.iter().map(|job| job.seconds).sum();
    let each = super::super::reporter::duration(seconds / (count * request.workers).max(1) as f64);
    let word = if count == 1 { "allocation" } else { "allocations" };
    format!("Slurm: {count} {word} with about {each} of work: {request}")
}

fn timed(jobs: &[Job]) -> Vec<makespan::Job> {
    jobs.iter().map(|job| makespan::Job { seconds: job.seconds, inputs: job.need.inputs.clone() }).collect()
}

/// A name for the jobs of an experiment in a store: the same for each run.
fn job_name(store: &Path, experiment: &str) -> String {
    let path = std::fs::canonicalize(store).unwrap_or_else(|_| store.to_owned());
    let place = Fingerprint::of_parts([path.to_string_lossy().as_ref(), experiment]);
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let experiment: String = experiment.chars().map(plain).take(40).collect();
    format!("medmerge-{experiment}-{}", &place.to_string()[..8])
}

impl<'a> SlurmExecutor<'a> {
    /// An executor for this work. All orders go to the desk; what an earlier run left there is taken over.
    ///
    /// # Errors
    /// The desk cannot be written, or another run is at it.
    pub fn new(mut work: Work<'a>) -> Result<Self, RunError> {
        work.slurm.check().map_err(|message| RunError::Refused(format!("[executor.slurm]: {message}")))?;
        let desk = Desk::open(&Desk::path(work.store.root(), work.name))?;
        let at_desk = sit_down(work.store, work.name)?;
        let request = Request::new(work.slurm, work.jobs, work.workers);
        let (store, name) = (work.store.root(), job_name(work.store.root(), work.name));
        let mut allocations = Allocations::new(&desk, store, work.workers, name, work.slurm.interval())?;
        let mut tails = Tails::default();
        // What was said of orders is in the store and on the desk, but for those that a worker is about to put away.
        let past = tails.notes(&desk)?;
        past.iter().for_each(|(worker, note)| allocations.recall(worker, note));
        let orders: Vec<_> =
            (0..work.jobs.len()).map(|job| work.orders.order(job, request.threads())).collect();
        let fingerprints: Vec<_> = orders.iter().map(|order| order.fingerprint).collect();
        let mut jobs: HashMap<_, Vec<usize>> = HashMap::new();
        for (job, fingerprint) in fingerprints.iter().enumerate() {
            jobs.entry(*fingerprint).or_default().push(job);
        }
        let mut executor = Self {
            work,
            request,
            desk,
            _at_desk: at_desk,
            tails,
            allocations,
            fingerprints,
            jobs,
            orders: BTreeMap::new(),
            awaited: BTreeSet::new(),
            inbox: VecDeque::new(),
            appearing: Appearing::default(),
            more_memory: BTreeMap::new(),
            tested: false,
            stopping: None,
            detached: false,
            pause: READ[0],
        };
        executor.take_over(&past)?;
        orders.iter().try_for_each(|order| executor.hand_out(order))?;
        executor.publish()?;
        if !executor.allocations.is_in_doubt() {
            executor.take_back_from(|_| true)?;
        }
        Ok(executor)
    }

    /// Remove orders of an earlier run that are no longer needed; note those that its workers make.
    fn take_over(&mut self, past: &[(WorkerId, Note)]) -> Result<(), RunError> {
        let ended = |(worker, note): &(WorkerId, Note)| match note {
            Note::Said { of, message: Message::Ended(_) } => Some((*of, worker.clone())),
            _ => None,
        };
        let ended: BTreeSet<_> = past.iter().filter_map(ended).collect();
        for of in self.desk.open_orders()? {
            match self.jobs.contains_key(&of) {
                true => _ = self.orders.insert(of, Status::Open),
                false => self.desk.withdraw(&of)?,
            }
        }
        for (of, worker) in self.desk.taken_orders()? {
            if self.jobs.contains_key(&of) && !ended.contains(&(of, worker.clone())) {
                self.orders.insert(of, Status::Taken(worker));
            }
        }
        Ok(())
    }

    /// Put an order on the desk, unless it is there.
    fn hand_out(&mut self, order: &super::super::message::Order) -> Result<(), RunError> {
        let of = order.fingerprint;
        match self.orders.get(&of) {
            Some(Status::Open) if order.rerun => {}
            Some(_) => return Ok(()),
            None => {}
        }
        if !order.rerun && self.work.store.has_appeared(&of) {
            self.orders.insert(of, Status::Ended(Ending::Found));
            return Ok(());
        }
        self.desk.put(order)?;
        self.orders.insert(of, Status::Open);
        Ok(())
    }

    /// Say what is to be made, the most urgent first.
    fn publish(&self) -> Result<(), RunError> {
        let mut jobs: Vec<usize> = (0..self.work.jobs.len()).collect();
        jobs.sort_by_key(|&job| (std::cmp::Reverse(self.work.jobs[job].need.urgency), job));
        let node = |job: usize| {
            let fingerprint = self.fingerprints[job];
            let inputs = self.work.jobs[job].need.inputs.iter().map(|&input| self.fingerprints[input]);
            Node {
                fingerprint,
                inputs: inputs.filter(|input| *input != fingerprint).collect(),
                memory: self.more_memory.get(&fingerprint).copied().unwrap_or(0),
            }
        };
        self.desk.publish(&Graph { nodes: jobs.into_iter().map(node).collect() })
    }

    /// Everything that is to be done now and then.
    fn attend(&mut self) -> Result<(), RunError> {
        let notes = self.tails.notes(&self.desk)?;
        self.pause = if notes.is_empty() { (self.pause * 2).min(READ[1]) } else { READ[0] };
        for (worker, note) in notes {
            self.hear(&worker, note)?;
        }
        self.look_for_entries();
        self.allocations.look_for_silence();
        if self.stopping.is_some() {
            return self.wait_for_stop();
        }
        self.ask()?;
        self.top_up()
    }

    /// Ask Slurm, if it is time to, and put back what the dead had taken.
    fn ask(&mut self) -> Result<(), RunError> {
        let was_in_doubt = self.allocations.is_in_doubt();
        for ended in self.allocations.query()? {
            self.take_back(&ended)?;
        }
        if was_in_doubt && !self.allocations.is_in_doubt() {
            let living: BTreeSet<_> = self.allocations.living.keys().cloned().collect();
            self.take_back_from(|worker| !living.contains(desk::allocation(worker)))?;
        }
        Ok(())
    }
}

/// Be the only run at a desk.
fn sit_down(store: &Store, experiment: &str) -> Result<Lock, RunError> {
    store.try_lock_desk(experiment)?.ok_or_else(|| {
        RunError::Refused(format!(
            "another `medmerge run` of {experiment} is at work on Slurm with this store; `medmerge status` shows it. If it \
             was killed on another computer, try again in two minutes"
        ))
    })
}

impl Executor for SlurmExecutor<'_> {
    fn capacity(&self) -> Capacity {
        Capacity { memory: vec![u64::MAX], parallel: Parallel::Queued { threads: self.request.threads() } }
    }

    fn start(&mut self, job: usize, _: usize, _: usize) -> Result<Started, RunError> {
        if !std::mem::replace(&mut self.tested, true) {
            self.allocations.test(&self.request)?;
        }
        let of = self.fingerprints[job];
        match self.orders.get(&of) {
            Some(Status::Ended(ending)) => {
                let first = self.jobs[&of].iter().all(|other| *other >= job);
                // Of jobs of the same work, the first has made it.
                let ending = match ending {
                    Ending::Executed { .. } if !first => Ending::Found,
                    ending => ending.clone(),
                };
                self.inbox.extend([(job, Message::Started), (job, Message::Ended(ending))]);
            }
            Some(Status::Taken(_) | Status::Made) => {
                self.awaited.insert(job);
                self.inbox.push_back((job, Message::Started));
            }
            _ => _ = self.awaited.insert(job),
        }
        Ok(Started::Queued)
    }

    fn receive(&mut self, timeout: Duration) -> Result<Option<(usize, Message)>, RunError> {
        if self.inbox.is_empty() {
            std::thread::sleep(self.pause.min(timeout));
            if let Err(error) = self.attend() {
                self.end_awaited();
                return Err(error);
            }
        }
        Ok(self.inbox.pop_front())
    }

    fn stop(&mut self) {
        // Workers that were not told to leave are not waited for.
        let patience = if self.allocations.cancel() { LEAVE } else { Duration::ZERO };
        self.stopping = Some(Stopping { until: Instant::now() + patience });
    }

    fn news(&mut self) -> Option<String> {
        let news = &mut self.allocations.news;
        if news.is_empty() { None } else { Some(news.remove(0)) }
    }

    fn detach(&mut self) -> Result<(), RunError> {
        self.allocations.test(&self.request)?;
        self.ask()?;
        self.awaited = (0..self.work.jobs.len()).filter(|&job| self.is_open(job)).collect();
        self.top_up()?;
        if !self.awaited.is_empty() && self.allocations.living.is_empty() {
            let news = self.allocations.news.join("; ");
            return Err(RunError::Refused(format!(
                "nothing was submitted: {news}; try again later, or without --detach"
            )));
        }
        self.detached = true;
        Ok(())
    }

    fn skip(&mut self, job: usize) {
        let of = self.fingerprints[job];
        if self.orders.get(&of) == Some(&Status::Open) {
            // If it cannot be removed, at worst it is made.
            let _ = self.desk.withdraw(&of);
            self.orders.remove(&of);
        }
    }
}

impl Drop for SlurmExecutor<'_> {
    fn drop(&mut self) {
        if self.detached {
            return;
        }
        if let Err(error) = self.close() {
            tracing::warn!("{error}");
        }
        self.allocations.news.drain(..).for_each(|news| tracing::warn!("{news}"));
    }
}
