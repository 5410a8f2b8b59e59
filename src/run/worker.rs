//! Worker side: makes the store entries of orders.

mod datasets;
mod own_log;

use std::any::Any;
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use candle_core::Device;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use super::machine::PeakMemory;
use super::message::{Ending, Message, Order, OrderDataset, OrderFile};
use super::reporter::{Throttle, epoch_line};
use super::signals::Signals;
use dataset::{DataError, Dataset};
use datasets::Datasets;
use identity::{Field, Fingerprint, Numerics};
use own_log::OwnLog;
use stage::{Artifact, Context, StageError};
use store::outside::look;
use store::{Digests, EntryHeader, Lock, Partial, Store, StoreError};
use train::{Interrupted, Progress};

/// Interval for retrying a lock that another run holds.
const LOCK_INTERVAL: Duration = Duration::from_millis(200);

/// Minimum time between two messages about steps.
const STEP_INTERVAL: Duration = Duration::from_millis(100);

/// Sends a worker's messages to its run.
pub type Notify<'a> = dyn Fn(Message) + Sync + 'a;

/// Makes stages. Keeps the device, threads and data sets from one stage to the next.
pub struct Worker<'a> {
    /// Inputs are read from it, and entries written to it.
    store: Store,
    /// Device of tensors.
    device: Device,
    /// Numerics of the device.
    numerics: Numerics,
    /// Replay training steps on a GPU as graphs, where that is possible.
    graphs: bool,
    /// Requests to stop.
    signals: &'a Signals,
    /// Receives messages.
    notify: &'a Notify<'a>,
    datasets: Datasets,
    pool: Option<Arc<ThreadPool>>,
}

/// Why no entry was made.
enum Failure {
    /// The stage failed.
    Stage(StageError),
    /// It panicked.
    Panic(String),
    /// The store failed.
    Store(StoreError),
    /// Its data or files have changed since planning.
    Changed,
    /// The order does not match this worker.
    Mismatch(String),
    /// Threads cannot be started.
    Threads(ThreadPoolBuildError),
    /// It was asked to stop.
    Interrupted,
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        match error {
            StageError::Interrupted(Interrupted) => Self::Interrupted,
            other => Self::Stage(other),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Stage(error) if error.is_out_of_memory() => Self::OutOfMemory(error.to_string()),
            Failure::Stage(error) => Self::Failed(error.to_string()),
            Failure::Panic(message) => {
                Self::Failed(format!("it panicked, which is a bug in medmerge; please report it: {message}"))
            }
            // A damaged or missing input affects only this stage; the next run makes it again.
            Failure::Store(error @ (StoreError::Damaged { .. } | StoreError::Missing { .. })) => {
                Self::Failed(error.to_string())
            }
            Failure::Store(error) => Self::Fatal(error.to_string()),
            Failure::Changed => Self::Failed("its data or files changed during the run; run again".into()),
            Failure::Mismatch(message) => Self::Failed(message),
            Failure::Threads(error) => Self::Fatal(format!("failed to start threads: {error}")),
            Failure::Interrupted => Self::Interrupted,
        }
    }
}

impl<'a> Worker<'a> {
    /// A worker on this device with these numerics.
    pub fn new(
        store: Store,
        device: Device,
        numerics: Numerics,
        graphs: bool,
        signals: &'a Signals,
        notify: &'a Notify<'a>,
    ) -> Self {
        let datasets = Datasets::default();
        Self { store, device, numerics, graphs, signals, notify, datasets, pool: None }
    }

    /// Make the entry of an order, unless it exists.
    pub fn make(&mut self, order: &Order) -> Ending {
        let ending = self.in_pool(order).unwrap_or_else(Ending::from);
        match ending {
            Ending::Interrupted if self.signals.is_terminated() => Ending::Terminated,
            other => other,
        }
    }

    /// Make the entry within a thread pool, so that the many short parallel loops of a step start without switching pools.
    fn in_pool(&mut self, order: &Order) -> Result<Ending, Failure> {
        let pool = self.pool(order.threads).map_err(Failure::Threads)?;
        pool.install(|| Job { worker: self, order }.make())
    }

    /// A pool with this number of threads; the previous one if it has.
    fn pool(&mut self, threads: usize) -> Result<Arc<ThreadPool>, ThreadPoolBuildError> {
        if let Some(pool) = self.pool.as_ref().filter(|pool| pool.current_num_threads() == threads) {
            return Ok(Arc::clone(pool));
        }
        let pool = Arc::new(ThreadPoolBuilder::new().num_threads(threads.max(1)).build()?);
        self.pool = Some(Arc::clone(&pool));
        Ok(pool)
    }
}

/// An order in progress.
struct Job<'a, 'w> {
    worker: &'a mut Worker<'w>,
    order: &'a Order,
}

impl Job<'_, '_> {
    fn make(&mut self) -> Result<Ending, Failure> {
        let Self { worker, order } = self;
        let fingerprint = &order.fingerprint;
        check(order, worker.numerics)?;
        let store = worker.store.clone();
        let _lock = self.lock()?;
        let partial = store.partial(fingerprint)?;
        if !self.order.rerun && store.manifest(fingerprint)?.is_some() {
            partial.remove();
            return Ok(Ending::Found);
        }
        let made = self.make_entry(&partial);
        match made {
            Ok(_) => partial.remove(),
            Err(_) => partial.remove_if_empty(),
        }
        made
    }

    fn make_entry(&mut self, partial: &Partial) -> Result<Ending, Failure> {
        let log = partial.open_log()?;
        let _logging = OwnLog::redirect_to(&log);
        let (started, start) = (SystemTime::now(), Instant::now());
        let peak = PeakMemory::start();
        let artifact = self.artifact(partial, log)?;
        let seconds = start.elapsed().as_secs_f64();
        let header = EntryHeader { peak_memory: peak.bytes(), ..self.header(started, seconds) };
        if self.order.rerun {
            self.worker.store.remove(&self.order.fingerprint)?;
        }
        self.put(&artifact, partial, &header)?;
        Ok(Ending::Executed { seconds })
    }

    /// Write the entry. If the disk is full, delete the training state and try again.
    fn put(&self, artifact: &Artifact, partial: &Partial, header: &EntryHeader) -> Result<(), StoreError> {
        let put = || self.worker.store.put(header.clone(), artifact, &partial.log()).map(drop);
        match put() {
            Err(StoreError::Full { .. }) => {
                partial.forget_state();
                put()
            }
            put => put,
        }
    }

    /// Lock the entry, waiting while another run is making it.
    fn lock(&self) -> Result<Lock, Failure> {
        let mut notified = false;
        loop {
            if let Some(lock) = self.worker.store.try_lock(&self.order.fingerprint)? {
                return Ok(lock);
            }
            if self.worker.signals.is_stopped() {
                return Err(Failure::Interrupted);
            }
            if !std::mem::replace(&mut notified, true) {
                (self.worker.notify)(Message::Waiting);
            }
            std::thread::sleep(LOCK_INTERVAL);
        }
    }

    /// Run the stage.
    fn artifact(&mut self, partial: &Partial, log: File) -> Result<Artifact, Failure> {
        let (notify, signals) = (self.worker.notify, self.worker.signals);
        let log = Mutex::new(log);
        let throttle = Mutex::new(Throttle::new(STEP_INTERVAL));
        let report = |progress: Progress| -> Result<(), Interrupted> {
            if let Progress::Epoch(record) = &progress {
                // A missing log line does not stop the stage; a full disk is noticed when the entry is written.
                let _ = writeln!(locked(&log), "{}", epoch_line(record));
            }
            if matches!(progress, Progress::Epoch(_)) || locked(&throttle).ready() {
                notify(Message::Progress(progress));
            }
            if signals.is_stopped() { Err(Interrupted) } else { Ok(()) }
        };
        let order = self.order;
        order.files.iter().try_for_each(|file| self.check_file(file))?;
        let (inputs, input_fingerprints) = self.inputs()?;
        let context = Context {
            inputs,
            datasets: order.datasets.iter().map(|it| self.dataset(it)).collect::<Result<_, _>>()?,
            dataset_fingerprints: order.datasets.iter().map(|dataset| dataset.fingerprint).collect(),
            input_fingerprints,
            device: self.worker.device.clone(),
            report: &report,
            resume: partial,
            graphs: self.worker.graphs,
        };
        catch_panic(|| order.spec.run(&context))
    }

    /// Artifacts of other stages, each read once, and their fingerprints.
    fn inputs(&self) -> Result<(Vec<Arc<Artifact>>, Vec<Fingerprint>), Failure> {
        let Worker { store, device, .. } = &*self.worker;
        let mut known = HashMap::new();
        let (mut inputs, mut fingerprints) = (Vec::new(), Vec::new());
        for (_, fingerprint) in &self.order.inputs {
            if !known.contains_key(fingerprint) {
                let artifact = store.get(fingerprint)?;
                let artifact = match device.is_cpu() {
                    true => artifact,
                    false => artifact.to_device(device).map_err(StageError::from)?,
                };
                known.insert(fingerprint, Arc::new(artifact));
            }
            inputs.push(Arc::clone(&known[fingerprint]));
            fingerprints.push(*fingerprint);
        }
        Ok((inputs, fingerprints))
    }

    /// A data set, checked against the digest in the order.
    fn dataset(&mut self, ordered: &OrderDataset) -> Result<Arc<Dataset>, Failure> {
        self.check_dataset(ordered)?;
        if let Some(loaded) = self.worker.datasets.get(&ordered.fingerprint) {
            return Ok(loaded);
        }
        let dataset = Arc::new(load(ordered, &self.worker.store).map_err(StageError::from)?);
        self.worker.datasets.keep(ordered.fingerprint, &dataset);
        Ok(dataset)
    }

    /// Check a data set's digest; unchanged files are not read again.
    fn check_dataset(&self, ordered: &OrderDataset) -> Result<(), Failure> {
        let (_, summary) =
            Digests::new(&self.worker.store).look_once(&ordered.spec, look).map_err(StageError::from)?;
        if summary.digest == ordered.digest { Ok(()) } else { Err(Failure::Changed) }
    }

    fn check_file(&self, OrderFile { path, digest }: &OrderFile) -> Result<(), Failure> {
        match Digests::new(&self.worker.store).file(path) {
            Ok(found) if found == *digest => Ok(()),
            _ => Err(Failure::Changed),
        }
    }

    fn header(&self, started: SystemTime, seconds: f64) -> EntryHeader {
        let order = self.order;
        let datasets = order.datasets.iter();
        EntryHeader {
            fingerprint: order.fingerprint,
            kind: order.spec.kind().to_owned(),
            revision: order.spec.revision(),
            fields: order.fields.clone(),
            inputs: order.inputs.clone(),
            datasets: datasets.clone().map(|dataset| (dataset.role.clone(), dataset.fingerprint)).collect(),
            dataset_names: datasets.map(|dataset| dataset.name.clone()).collect(),
            ancestry: order.ancestry.clone(),
            stage_ids: order.stages.clone(),
            description: order.description.clone(),
            started,
            seconds,
            peak_memory: None,
        }
    }
}

/// Check that an order is consistent and that this worker can carry it out.
///
/// # Errors
/// It does not match this program or device.
fn check(order: &Order, numerics: Numerics) -> Result<(), Failure> {
    if order.numerics != numerics {
        let (wanted, given) = (order.numerics.as_str(), numerics.as_str());
        return Err(Failure::Mismatch(format!(
            "its order requires {wanted}, but its worker computes with {given}"
        )));
    }
    let revision = Field::new("revision", order.spec.revision().to_string());
    if Fingerprint::of(&order.fields) != order.fingerprint || !order.fields.contains(&revision) {
        let message = "its order does not match its fingerprint; the run and its workers must have the same version of medmerge";
        return Err(Failure::Mismatch(message.into()));
    }
    Ok(())
}

fn load(ordered: &OrderDataset, store: &Store) -> Result<Dataset, DataError> {
    let source = &ordered.spec;
    let whole = source.load(Some(&store.data_cache(&ordered.digest, source.size())))?;
    let whole = Dataset { pixels: source.pixels().cloned(), ..whole };
    Ok(ordered.labels.dataset(whole))
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Turn a panic into a failure with its message.
fn catch_panic(run: impl FnOnce() -> Result<Artifact, StageError>) -> Result<Artifact, Failure> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(ended) => ended.map_err(Failure::from),
        Err(payload) => Err(Failure::Panic(panic_message(payload.as_ref()).to_owned())),
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(failure: Result<Artifact, Failure>) -> Ending {
        failure.map_or_else(Ending::from, |_| panic!("no failure"))
    }

    #[test]
    fn a_panic_is_a_failure_with_its_message() {
        let Ending::Failed(message) = ending(catch_panic(|| panic!("index {} out of range", 3))) else {
            panic!("a failure")
        };
        assert!(message.ends_with("report it: index 3 out of range"));
    }

    #[test]
    fn an_interrupted_stage_is_not_a_failure() {
        assert_eq!(ending(catch_panic(|| Err(Interrupted.into()))), Ending::Interrupted);
    }

    #[test]
    fn an_out_of_memory_error_of_the_device_is_recognized() {
        let failed = |text: &str| ending(catch_panic(|| Err(candle_core::Error::Msg(text.into()).into())));
        assert!(matches!(failed("DriverError(CUDA_ERROR_OUT_OF_MEMORY)"), Ending::OutOfMemory(_)));
        assert!(matches!(failed("shape mismatch"), Ending::Failed(_)));
    }
}
