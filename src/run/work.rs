//! Running a plan: which of its stages are jobs, and what is written beside them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use candle_core::Device;
use petgraph::graph::NodeIndex;
use rayon::prelude::*;

use super::executor::LocalExecutor;
use super::folder::RunFolder;
use super::scheduler::{Job, run_jobs};
use super::{Event, Outcome, Reporter, RunError};
use crate::plan::{Fingerprint, Plan};
use crate::stage::Description;
use crate::store::{Store, StoreError};

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where tensors live.
    pub device: Device,
    /// Whether nothing starts any more after a stage failed.
    pub fail_fast: bool,
    /// Raised when the person asks to stop; see [`super::interrupt::listen`].
    pub interrupt: Arc<AtomicBool>,
}

/// Makes every stage that the plan needs. A stage that fails is no error: see the outcome.
///
/// # Errors
/// The store or the run's record cannot be written.
pub fn run(
    plan: &Plan,
    store: &Store,
    options: &Options,
    reporter: &mut dyn Reporter,
) -> Result<Outcome, RunError> {
    let folder = RunFolder::create(store.root(), &plan.experiment.name, SystemTime::now())?;
    folder.write_plan(&plan.to_json())?;
    let mut reporter = Recorded { log: folder.event_log()?, reporter };
    let nodes = needed(plan);
    let fresh = plan.order.len() - nodes.len();
    let mut outcome = Outcome { fresh, ..Outcome::default() };
    let experiment = plan.experiment.name.clone();
    reporter.event(&Event::RunStarted { experiment, stages: nodes.len(), fresh });
    let mut executor = LocalExecutor::new(plan, &nodes, store, options.device.clone(), &options.interrupt);
    let Options { fail_fast, interrupt, .. } = options;
    let ended =
        run_jobs(&jobs(plan, &nodes), *fail_fast, interrupt, &mut executor, &mut reporter, &mut outcome);
    reporter.event(&Event::run_finished(&outcome));
    remember(plan, store)?;
    ended.map(|()| outcome)
}

/// Tells both the run's record and another reporter.
struct Recorded<'a, L> {
    log: L,
    reporter: &'a mut dyn Reporter,
}

impl<L: Reporter> Reporter for Recorded<'_, L> {
    fn event(&mut self, event: &Event) {
        self.log.event(event);
        self.reporter.event(event);
    }
}

/// The stages to make, in the order of the plan.
fn needed(plan: &Plan) -> Vec<NodeIndex> {
    let needed = plan.needed();
    plan.order.iter().copied().filter(|node| needed.contains(node)).collect()
}

/// A job a stage. A stage of the same work as an earlier one waits for it, and then finds its entry.
fn jobs(plan: &Plan, nodes: &[NodeIndex]) -> Vec<Job> {
    let positions: HashMap<NodeIndex, usize> = nodes.iter().enumerate().map(|(i, &node)| (node, i)).collect();
    let mut first: HashMap<&Fingerprint, usize> = HashMap::new();
    let job = |(position, &node): (usize, &NodeIndex)| {
        let stage = &plan.graph[node];
        let inputs = stage.inputs.iter().filter_map(|(_, input)| positions.get(input).copied());
        let twin = *first.entry(&stage.fingerprint).or_insert(position);
        let inputs = inputs.chain((twin != position).then_some(twin)).collect();
        Job { id: stage.id.clone(), kind: stage.spec.kind(), inputs }
    };
    nodes.iter().enumerate().map(job).collect()
}

/// Notes what there is now of each stage, so that a later plan can say what changed.
fn remember(plan: &Plan, store: &Store) -> Result<(), RunError> {
    let mut made = Vec::new();
    for stage in plan.order.iter().map(|&node| &plan.graph[node]) {
        if !stage.status.is_stale() || store.manifest(&stage.fingerprint)?.is_some() {
            made.push((stage.id.clone(), stage.fingerprint.clone()));
        }
    }
    Ok(store.remember(&plan.experiment.name, &made)?)
}

/// Reads every entry that running this plan would use: inputs of what will run, and predictions. A damaged
/// one is set aside by the store, and the plan no longer holds. Returns how many were.
///
/// # Errors
/// The store cannot be read.
pub fn set_aside_damaged(plan: &Plan, store: &Store) -> Result<usize, RunError> {
    let needed = plan.needed();
    let inputs = needed.iter().flat_map(|&node| plan.graph[node].inputs.iter().map(|(_, input)| *input));
    let scores =
        plan.order.iter().copied().filter(|&node| plan.graph[node].description == Description::Scores);
    let used: BTreeSet<_> = inputs.chain(scores).filter(|node| !needed.contains(node)).collect();
    let used: Vec<_> = used.into_iter().collect();
    let damaged = |&node: &NodeIndex| match store.get(&plan.graph[node].fingerprint) {
        Ok(_) => Ok(0),
        Err(StoreError::Damaged { .. } | StoreError::Missing { .. }) => Ok(1),
        Err(error) => Err(error.into()),
    };
    used.par_iter().map(damaged).sum()
}
