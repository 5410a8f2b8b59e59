//! A worker's work: makes one stage's entry in the store.

use std::any::Any;
use std::collections::HashMap;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use candle_core::Device;
use identity::Fingerprint;
use petgraph::graph::NodeIndex;

use super::message::{Ending, Message};
use super::reporter::{Throttle, epoch_line};
use dataset::{DataError, Dataset};
use plan::{Plan, PlannedDataset, PlannedStage};
use stage::{Artifact, Context, StageError};
use store::{EntryHeader, Lock, Partial, Store, StoreError};
use train::{Interrupted, Progress};

/// Time between two looks at a lock that another run holds.
const LOCK_INTERVAL: Duration = Duration::from_millis(200);

/// Least time between two messages about steps.
const STEP_INTERVAL: Duration = Duration::from_millis(100);

/// Where a worker's messages go.
pub type Tell<'a> = dyn Fn(Message) + Sync + 'a;

/// What a worker works with.
pub struct Worker<'a> {
    /// The plan that holds the stage.
    pub plan: &'a Plan,
    /// The stage to make.
    pub stage: &'a PlannedStage,
    /// Whether to make it even if the store has it.
    pub anew: bool,
    /// Where its inputs are, and where its entry goes.
    pub store: &'a Store,
    /// Where tensors live.
    pub device: Device,
    /// Raised when it is to stop.
    pub interrupt: &'a AtomicBool,
    /// Hears how far it is.
    pub tell: &'a Tell<'a>,
}

/// Why there is no entry.
enum Failure {
    /// The stage failed.
    Stage(StageError),
    /// It panicked.
    Panic(String),
    /// The store failed.
    Store(StoreError),
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
            Failure::Panic(message) => Self::Failed(format!(
                "it panicked, which is a defect of medmerge; please report it: {message}"
            )),
            // A damaged or missing input is this stage's trouble, and the next run makes it anew.
            Failure::Store(error @ (StoreError::Damaged { .. } | StoreError::Missing { .. })) => {
                Self::Failed(error.to_string())
            }
            Failure::Store(error) => Self::Stopped(error.to_string()),
            Failure::Interrupted => Self::Interrupted,
        }
    }
}

impl Worker<'_> {
    /// Makes the stage's entry, unless it is there.
    pub fn work(&self) -> Ending {
        self.make().unwrap_or_else(Ending::from)
    }

    fn make(&self) -> Result<Ending, Failure> {
        let _lock = self.lock()?;
        let partial = self.store.partial(&self.stage.fingerprint)?;
        if !self.anew && self.store.manifest(&self.stage.fingerprint)?.is_some() {
            partial.remove();
            return Ok(Ending::Found);
        }
        let (started, start) = (SystemTime::now(), Instant::now());
        let artifact = self.artifact(&partial)?;
        let seconds = start.elapsed().as_secs_f64();
        if self.anew {
            self.store.remove(&self.stage.fingerprint)?;
        }
        self.keep(&artifact, &partial, &self.header(started, seconds))?;
        partial.remove();
        Ok(Ending::Executed { seconds })
    }

    /// Where there is no room beside the training's state, its result goes before it.
    fn keep(&self, artifact: &Artifact, partial: &Partial, header: &EntryHeader) -> Result<(), StoreError> {
        let put = || self.store.put(header.clone(), artifact, &partial.log()).map(drop);
        match put() {
            Err(StoreError::Full { .. }) => {
                partial.forget_state();
                put()
            }
            put => put,
        }
    }

    /// Waits for the right to make the entry; another run may be making it.
    fn lock(&self) -> Result<Lock, Failure> {
        let mut told = false;
        loop {
            if let Some(lock) = self.store.try_lock(&self.stage.fingerprint)? {
                return Ok(lock);
            }
            if self.interrupt.load(Ordering::Relaxed) {
                return Err(Failure::Interrupted);
            }
            if !std::mem::replace(&mut told, true) {
                (self.tell)(Message::Waiting);
            }
            std::thread::sleep(LOCK_INTERVAL);
        }
    }

    /// Lets the stage do its work.
    fn artifact(&self, partial: &Partial) -> Result<Artifact, Failure> {
        let log = Mutex::new(partial.open_log()?);
        let throttle = Mutex::new(Throttle::new(STEP_INTERVAL));
        let report = |progress: Progress| -> Result<(), Interrupted> {
            if let Progress::Epoch(record) = &progress {
                // Its absence from the log is no reason to stop; a full disk shows elsewhere.
                let _ = writeln!(held(&log), "{}", epoch_line(record));
            }
            if matches!(progress, Progress::Epoch(_)) || held(&throttle).ready() {
                (self.tell)(Message::Progress(progress));
            }
            if self.interrupt.load(Ordering::Relaxed) { Err(Interrupted) } else { Ok(()) }
        };
        let (inputs, input_fingerprints) = self.inputs()?;
        let dataset_fingerprints = self.stage.datasets.iter().map(|(_, d)| d.fingerprint).collect();
        let context = Context {
            inputs,
            datasets: self.datasets()?,
            dataset_fingerprints,
            input_fingerprints,
            device: self.device.clone(),
            report: &report,
            resume: partial,
        };
        // Inside the pool, so that each of the many short parallel loops of a step starts without a handover.
        caught(|| rayon::scope(|_| self.stage.spec.run(&context)))
    }

    /// What other stages made, each read once, and their fingerprints.
    fn inputs(&self) -> Result<(Vec<Arc<Artifact>>, Vec<Fingerprint>), Failure> {
        let mut known = HashMap::new();
        let (mut inputs, mut fingerprints) = (Vec::new(), Vec::new());
        for &(_, node) in &self.stage.inputs {
            let fingerprint = &self.plan.graph[node].fingerprint;
            if !known.contains_key(fingerprint) {
                let artifact = self.store.get(fingerprint)?;
                let artifact = match self.device.is_cpu() {
                    true => artifact,
                    false => artifact.on(&self.device).map_err(StageError::from)?,
                };
                known.insert(fingerprint, Arc::new(artifact));
            }
            inputs.push(Arc::clone(&known[fingerprint]));
            fingerprints.push(*fingerprint);
        }
        Ok((inputs, fingerprints))
    }

    /// The stage's data sets, each loaded once.
    fn datasets(&self) -> Result<Vec<Arc<Dataset>>, Failure> {
        let mut known: HashMap<Fingerprint, Arc<Dataset>> = HashMap::new();
        let mut datasets = Vec::new();
        for (_, dataset) in &self.stage.datasets {
            let loaded = match known.get(&dataset.fingerprint) {
                Some(loaded) => Arc::clone(loaded),
                None => Arc::new(self.load(dataset).map_err(StageError::from)?),
            };
            known.insert(dataset.fingerprint, Arc::clone(&loaded));
            datasets.push(loaded);
        }
        Ok(datasets)
    }

    fn load(&self, dataset: &PlannedDataset) -> Result<Dataset, DataError> {
        let source = &dataset.spec;
        let whole = source.load(Some(&self.store.data_cache(&dataset.summary.digest, source.size())))?;
        Ok(dataset.labels.dataset(whole))
    }

    fn header(&self, started: SystemTime, seconds: f64) -> EntryHeader {
        let Self { plan, stage, .. } = self;
        let same_work = plan.order.iter().map(|&node| &plan.graph[node]);
        let same_work = same_work.filter(|other| other.fingerprint == stage.fingerprint);
        let input = |(input, node): &(stage::Input, NodeIndex)| {
            (input.role.clone(), plan.graph[*node].fingerprint.clone())
        };
        EntryHeader {
            fingerprint: stage.fingerprint.clone(),
            kind: stage.spec.kind().to_owned(),
            revision: stage.spec.revision(),
            fields: stage.fields.clone(),
            inputs: stage.inputs.iter().map(input).collect(),
            datasets: stage.datasets.iter().map(|(i, d)| (i.role.clone(), d.fingerprint.clone())).collect(),
            dataset_names: stage.datasets.iter().map(|(_, d)| d.name.clone()).collect(),
            ancestry: plan.ancestry(stage),
            stage_ids: same_work.map(|other| other.id.clone()).collect(),
            description: stage.description.clone(),
            started,
            seconds,
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A panic becomes a failure of the stage, with its message.
fn caught(run: impl FnOnce() -> Result<Artifact, StageError>) -> Result<Artifact, Failure> {
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
        let Ending::Failed(message) = ending(caught(|| panic!("index {} out of range", 3))) else {
            panic!("a failure")
        };
        assert!(message.ends_with("report it: index 3 out of range"));
    }

    #[test]
    fn an_interrupted_stage_has_not_failed() {
        assert_eq!(ending(caught(|| Err(Interrupted.into()))), Ending::Interrupted);
    }

    #[test]
    fn a_device_without_memory_is_told_apart_from_other_failures() {
        let failed = |text: &str| ending(caught(|| Err(candle_core::Error::Msg(text.into()).into())));
        assert!(matches!(failed("DriverError(CUDA_ERROR_OUT_OF_MEMORY)"), Ending::OutOfMemory(_)));
        assert!(matches!(failed("shape mismatch"), Ending::Failed(_)));
    }
}
