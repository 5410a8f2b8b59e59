//! Makes a stage's entry in this process.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use candle_core::Device;
use petgraph::graph::NodeIndex;

use super::load::Loader;
use super::reporter::epoch_line;
use super::scheduler::{Executor, Failure, Made, Report};
use crate::plan::{Plan, PlannedStage};
use crate::stage::{Artifact, Context, Interrupted, Progress, StageError};
use crate::store::{EntryHeader, Lock, Store, StoreError};

/// Time between two looks at a lock that another run holds.
const LOCK_INTERVAL: Duration = Duration::from_millis(200);

/// Runs stages in this process. A panic in a stage loses that stage alone.
#[derive(Debug)]
pub struct LocalExecutor<'a> {
    plan: &'a Plan,
    /// The stage of each job.
    nodes: &'a [NodeIndex],
    store: &'a Store,
    device: Device,
    interrupt: &'a AtomicBool,
    loader: Loader<'a>,
}

impl<'a> LocalExecutor<'a> {
    /// An executor whose job `j` is the stage `nodes[j]` of the plan.
    pub fn new(
        plan: &'a Plan,
        nodes: &'a [NodeIndex],
        store: &'a Store,
        device: Device,
        interrupt: &'a AtomicBool,
    ) -> Self {
        let loader = Loader::new(store, nodes.iter().map(|&node| &plan.graph[node]));
        Self { plan, nodes, store, device, interrupt, loader }
    }

    /// Waits for the right to make an entry; another run may be making it.
    fn lock(&self, stage: &PlannedStage) -> Result<Lock, Failure> {
        let mut told = false;
        loop {
            if let Some(lock) = self.store.try_lock(&stage.fingerprint).map_err(store_failure)? {
                return Ok(lock);
            }
            if self.interrupt.load(Ordering::Relaxed) {
                return Err(Failure::Interrupted);
            }
            if !std::mem::replace(&mut told, true) {
                tracing::warn!("another run is making {}; waiting for it", stage.id);
            }
            std::thread::sleep(LOCK_INTERVAL);
        }
    }

    fn context<'r>(&mut self, stage: &PlannedStage, report: &'r Report<'r>) -> Result<Context<'r>, Failure> {
        let mut inputs = Vec::new();
        let mut input_fingerprints = Vec::new();
        for &(_, node) in &stage.inputs {
            let fingerprint = &self.plan.graph[node].fingerprint;
            let artifact = self.loader.artifact(fingerprint).map_err(stage_failure)?;
            inputs.push(if self.device.is_cpu() {
                artifact
            } else {
                Arc::new(artifact.on(&self.device).map_err(stage_failure)?)
            });
            input_fingerprints.push(fingerprint.0.clone());
        }
        let mut datasets = Vec::new();
        for (_, dataset) in &stage.datasets {
            datasets.push(self.loader.dataset(dataset).map_err(stage_failure)?);
        }
        let dataset_fingerprints = stage.datasets.iter().map(|(_, d)| d.fingerprint.clone()).collect();
        let device = self.device.clone();
        Ok(Context { inputs, datasets, dataset_fingerprints, input_fingerprints, device, report })
    }

    fn keep(&self, stage: &PlannedStage, work: Work, log: &str) -> Result<Made, Failure> {
        if stage.status.is_asked() {
            self.store.remove(&stage.fingerprint).map_err(store_failure)?;
        }
        let Work { artifact, started, seconds } = work;
        self.store.put(self.header(stage, started, seconds), &artifact, log).map_err(store_failure)?;
        Ok(Made::Executed { seconds })
    }

    fn header(&self, stage: &PlannedStage, started: SystemTime, seconds: f64) -> EntryHeader {
        let same_work = self.plan.order.iter().map(|&node| &self.plan.graph[node]);
        let same_work = same_work.filter(|other| other.fingerprint == stage.fingerprint);
        let input = |(input, node): &(crate::stage::Input, NodeIndex)| {
            (input.role.clone(), self.plan.graph[*node].fingerprint.clone())
        };
        EntryHeader {
            fingerprint: stage.fingerprint.clone(),
            kind: stage.spec.kind().to_owned(),
            revision: stage.spec.stage().revision(),
            fields: stage.fields.clone(),
            inputs: stage.inputs.iter().map(input).collect(),
            datasets: stage.datasets.iter().map(|(i, d)| (i.role.clone(), d.fingerprint.clone())).collect(),
            stage_ids: same_work.map(|other| other.id.clone()).collect(),
            description: stage.description.clone(),
            started,
            seconds,
        }
    }
}

impl Executor for LocalExecutor<'_> {
    fn execute(&mut self, job: usize, report: &Report<'_>) -> Result<Made, Failure> {
        let stage = &self.plan.graph[self.nodes[job]];
        let _lock = self.lock(stage)?;
        let made_meanwhile = self.store.manifest(&stage.fingerprint).map_err(store_failure)?.is_some();
        if made_meanwhile && !stage.status.is_asked() {
            return Ok(Made::Found);
        }
        let log = Mutex::new(String::new());
        let logged = |progress: Progress| -> Result<(), Interrupted> {
            if let Progress::Epoch(record) = &progress {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&epoch_line(record));
                log.push('\n');
            }
            report(progress)
        };
        let context = self.context(stage, &logged)?;
        let work = work(stage, &context)?;
        drop(context);
        self.keep(stage, work, &log.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn release(&mut self, job: usize) {
        self.loader.release(&self.plan.graph[self.nodes[job]]);
    }
}

struct Work {
    artifact: Artifact,
    started: SystemTime,
    seconds: f64,
}

/// Lets the stage do its work.
fn work(stage: &PlannedStage, context: &Context<'_>) -> Result<Work, Failure> {
    let (started, start) = (SystemTime::now(), Instant::now());
    // Inside the pool, so that each of the many short parallel loops of a step starts without a handover.
    let artifact = caught(|| rayon::scope(|_| stage.spec.stage().run(context)))?;
    Ok(Work { artifact, started, seconds: start.elapsed().as_secs_f64() })
}

/// A panic becomes a failure of the stage, with its message.
fn caught(run: impl FnOnce() -> Result<Artifact, StageError>) -> Result<Artifact, Failure> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(artifact)) => Ok(artifact),
        Ok(Err(StageError::Interrupted(Interrupted))) => Err(Failure::Interrupted),
        Ok(Err(error)) => Err(stage_failure(error)),
        Err(payload) => {
            let message = panic_message(payload.as_ref());
            Err(Failure::Stage(format!(
                "it panicked, which is a defect of medmerge; please report it: {message}"
            )))
        }
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}

fn stage_failure(error: impl ToString) -> Failure {
    Failure::Stage(error.to_string())
}

fn store_failure(error: StoreError) -> Failure {
    Failure::Run(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(failure: Result<Artifact, Failure>) -> String {
        match failure {
            Err(Failure::Stage(message)) => message,
            other => panic!("not a failed stage: {other:?}"),
        }
    }

    #[test]
    fn a_panic_is_a_failure_with_its_message() {
        let caught = caught(|| panic!("index {} out of range", 3));
        assert!(message(caught).ends_with("report it: index 3 out of range"));
    }

    #[test]
    fn an_interrupted_stage_has_not_failed() {
        let caught = caught(|| Err(Interrupted.into()));
        assert!(matches!(caught, Err(Failure::Interrupted)));
    }
}
