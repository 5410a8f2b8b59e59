//! Running a plan: which of its stages are jobs, and what is written beside them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use rayon::prelude::*;

use super::executor::{Capacity, ExecutorKind, Workers};
use super::folder::RunFolder;
use super::order::Orders;
use super::queue::{Need, Room};
use super::scheduler::{Job, Rules, run_jobs};
use super::speeds::Speeds;
use super::{Event, Outcome, Reporter, RunError};
use plan::makespan::{self, best_jobs, ways};
use plan::{Estimates, Plan, StageId};
use stage::Description;
use store::{Store, StoreError};

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where stages are made.
    pub executor: ExecutorKind,
    /// How workers are started.
    pub workers: Workers,
    /// Threads that all stages share which run at once.
    pub threads: usize,
    /// Stages at once; `None` for as many as are done first, or on GPUs one on each.
    pub jobs: Option<usize>,
    /// Whether nothing starts any more after a stage failed.
    pub fail_fast: bool,
    /// Raised when the person asks to stop; a signal handler raises it.
    pub interrupt: Arc<AtomicBool>,
}

/// Makes every stage that the plan needs. A stage that fails is no error: see the outcome.
///
/// # Errors
/// The store or the run's record cannot be written, or no worker can work.
pub fn run(
    plan: &Plan,
    store: &Store,
    options: &Options,
    reporter: &mut dyn Reporter,
) -> Result<Outcome, RunError> {
    store.sweep_partials()?;
    let (needed, estimates) = (plan.needed(), plan.estimates(store, options.threads));
    check_space(store, estimates.disk_bytes(plan, &needed))?;
    let folder = RunFolder::create(store.root(), &plan.experiment.name, SystemTime::now())?;
    folder.write_plan(&plan.to_json(&estimates))?;
    let _at_work = store.lock_run(&folder.name())?;
    let nodes: Vec<_> = plan.stage_ids().filter(|node| needed.contains(node)).collect();
    let fresh = plan.reached().len() - nodes.len();
    let mut outcome = Outcome { fresh, ..Outcome::default() };
    let timed = estimates.jobs(plan, &needed);
    let mut executor = options.executor.build(Orders::new(plan, &nodes), store, &options.workers);
    let rules = options.rules(executor.capacity(), &timed);
    let jobs = jobs(plan, &nodes, timed, &estimates);
    let speeds = Speeds::new(plan, store, &estimates);
    let mut reporter = Recorded { log: folder.event_log()?, speeds, reporter };
    let experiment = plan.experiment.name.clone();
    reporter.event(&Event::RunStarted { experiment, stages: nodes.len(), fresh });
    let ended = run_jobs(&jobs, &rules, &options.interrupt, executor.as_mut(), &mut reporter, &mut outcome);
    drop(executor);
    reporter.speeds.write();
    reporter.event(&Event::run_finished(&outcome));
    ended?;
    remember(plan, store)?;
    Ok(outcome)
}

impl Options {
    fn rules(&self, capacity: Capacity, timed: &[makespan::Job]) -> Rules {
        let default = || match capacity.shares_threads {
            true => best_jobs(timed, self.threads),
            false => capacity.memory.len(),
        };
        let jobs = self.jobs.unwrap_or_else(default);
        let room = Room { jobs, devices: capacity.memory };
        Rules { room, threads: self.threads, fail_fast: self.fail_fast }
    }
}

/// Tells the run's record, whoever measures speeds, and another reporter.
struct Recorded<'a, L> {
    log: L,
    speeds: Speeds<'a>,
    reporter: &'a mut dyn Reporter,
}

impl<L: Reporter> Reporter for Recorded<'_, L> {
    fn event(&mut self, event: &Event) {
        self.log.event(event);
        self.speeds.event(event);
        self.reporter.event(event);
    }
}

/// Better no work than work whose result has no room.
fn check_space(store: &Store, needed: u64) -> Result<(), RunError> {
    match store.available_bytes()? {
        Some(free) if free < needed => Err(RunError::Space { needed, free, root: store.root().to_owned() }),
        _ => Ok(()),
    }
}

/// A job a stage. A stage of the same work as an earlier one waits for it, and then finds its entry.
fn jobs(plan: &Plan, nodes: &[StageId], timed: Vec<makespan::Job>, estimates: &Estimates) -> Vec<Job> {
    let ways = ways(&timed);
    let job = |((&node, timed), way): ((&StageId, makespan::Job), f64)| {
        let stage = plan.stage(node);
        let memory = estimates.of(node).memory_bytes;
        // Milliseconds; a time beyond measure is the most.
        let need = Need { inputs: timed.inputs, urgency: (way * 1e3) as u64, memory };
        Job { id: stage.id.clone(), kind: stage.spec.kind(), need }
    };
    nodes.iter().zip(timed).zip(ways).map(job).collect()
}

/// Notes what there is now of each stage, so that a later plan can say what changed.
fn remember(plan: &Plan, store: &Store) -> Result<(), RunError> {
    let mut made = Vec::new();
    for stage in plan.stages() {
        if !stage.status.is_stale() || store.manifest(&stage.fingerprint)?.is_some() {
            made.push((stage.id.clone(), stage.fingerprint));
        }
    }
    Ok(store.remember(&plan.experiment.name, &made)?)
}

/// Reads every entry that running this plan would use: inputs of what will run, and what tables and figures
/// show. A damaged
/// one is set aside by the store, and the plan no longer holds. Returns how many were.
///
/// # Errors
/// The store cannot be read.
pub fn set_aside_damaged(plan: &Plan, store: &Store) -> Result<usize, RunError> {
    let needed = plan.needed();
    let inputs = needed.iter().flat_map(|&node| plan.stage(node).inputs.iter().map(|(_, input)| *input));
    let shows = |node: StageId| plan.stage(node).description == Description::Scores || plan.draws(node);
    let shown = plan.stage_ids().filter(|&node| shows(node));
    let used: BTreeSet<_> = inputs.chain(shown).filter(|&node| !plan.stage(node).status.is_stale()).collect();
    let used: Vec<_> = used.into_iter().collect();
    let damaged = |&node: &StageId| match store.get(&plan.stage(node).fingerprint) {
        Ok(_) => Ok(0),
        Err(StoreError::Damaged { .. } | StoreError::Missing { .. }) => Ok(1),
        Err(error) => Err(error.into()),
    };
    used.par_iter().map(damaged).sum()
}
