//! Runs a plan: turns stages into jobs, and records the run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use rayon::prelude::*;

use super::executor::slurm::Settings;
use super::executor::{Capacity, ExecutorKind, Parallel, Work, Workers};
use super::folder::RunFolder;
use super::order::Orders;
use super::queue::{Limits, Need};
use super::scheduler::{Job, Rules, run_jobs};
use super::speeds::Speeds;
use super::{Event, Outcome, Reporter, RunError};
use plan::makespan::{self, best_jobs, ways};
use plan::{Estimates, Plan, StageId};
use stage::Description;
use store::{Store, StoreError};

/// Options of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where stages run.
    pub executor: ExecutorKind,
    /// How to start workers.
    pub workers: Workers,
    /// Number of threads, shared by all running stages.
    pub threads: usize,
    /// Maximum number of parallel stages; `None` for the number that finishes soonest, or one per GPU.
    pub jobs: Option<usize>,
    /// Whether to stop starting stages after the first failure.
    pub fail_fast: bool,
    /// Settings of the Slurm executor.
    pub slurm: Settings,
    /// Whether to leave after stages were handed to the executor.
    pub detach: bool,
    /// Set by a signal handler when the user interrupts the run.
    pub interrupt: Arc<AtomicBool>,
}

/// Make every stage that the plan needs. Failed stages are reported in the outcome.
///
/// # Errors
/// The store or the run's record cannot be written, or workers cannot run.
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
    let _lock = store.lock_run(&folder.name())?;
    let nodes = nodes(plan, &needed);
    let fresh = plan.reached().len() - nodes.len();
    let mut outcome = Outcome { fresh, ..Outcome::default() };
    let timed = estimates.jobs(plan, &needed);
    let estimate = timed.iter().map(|job| job.seconds).sum();
    let jobs = jobs(plan, &nodes, &timed, &estimates);
    let mut executor = options.executor.build(Work {
        name: &plan.experiment.name,
        jobs: &jobs,
        orders: Orders::new(plan, &nodes),
        store,
        workers: &options.workers,
        slurm: &options.slurm,
    })?;
    let rules = options.rules(executor.capacity(), &timed);
    let speeds = Speeds::new(plan, store, &estimates);
    let mut reporter = Reporters { log: folder.event_log()?, speeds, reporter };
    let experiment = plan.experiment.name.clone();
    reporter.event(&Event::RunStarted { experiment, stages: nodes.len(), fresh, estimate });
    if options.detach {
        executor.detach()?;
        while let Some(message) = executor.news() {
            reporter.event(&Event::ExecutorSaid { message });
        }
        return Ok(Outcome { detached: nodes.len(), ..outcome });
    }
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
        let Capacity { memory: devices, parallel } = capacity;
        let shares_threads = !matches!(parallel, Parallel::Queued { .. });
        let (jobs, threads) = match (parallel, self.jobs) {
            (Parallel::Queued { threads }, _) => (usize::MAX, threads),
            (_, Some(jobs)) => (jobs, self.threads),
            (Parallel::SharedThreads, None) => (best_jobs(timed, self.threads), self.threads),
            (Parallel::OnePerSlot, None) => (devices.len(), self.threads),
        };
        Rules { limits: Limits { jobs, devices }, threads, shares_threads, fail_fast: self.fail_fast }
    }
}

/// The reporters of a run: its record, the measurement of speeds, and another one.
struct Reporters<'a, L> {
    log: L,
    speeds: Speeds<'a>,
    reporter: &'a mut dyn Reporter,
}

impl<L: Reporter> Reporter for Reporters<'_, L> {
    fn event(&mut self, event: &Event) {
        self.log.event(event);
        self.speeds.event(event);
        self.reporter.event(event);
    }

    fn tick(&mut self) {
        self.reporter.tick();
    }
}

/// # Errors
/// There is not enough disk space for the results.
fn check_space(store: &Store, needed: u64) -> Result<(), RunError> {
    match store.available_bytes()? {
        Some(free) if free < needed => Err(RunError::Space { needed, free, root: store.root().to_owned() }),
        _ => Ok(()),
    }
}

/// The jobs that running a plan would start.
pub fn jobs_of(plan: &Plan, needed: &BTreeSet<StageId>, estimates: &Estimates) -> Vec<Job> {
    jobs(plan, &nodes(plan, needed), &estimates.jobs(plan, needed), estimates)
}

/// Needed stages in the order of the plan.
fn nodes(plan: &Plan, needed: &BTreeSet<StageId>) -> Vec<StageId> {
    plan.stage_ids().filter(|node| needed.contains(node)).collect()
}

/// One job per stage. A stage with the fingerprint of an earlier one waits for it, and then finds its entry.
fn jobs(plan: &Plan, nodes: &[StageId], timed: &[makespan::Job], estimates: &Estimates) -> Vec<Job> {
    let ways = ways(timed);
    let job = |((&node, timed), way): ((&StageId, &makespan::Job), f64)| {
        let stage = plan.stage(node);
        let memory = estimates.of(node).memory_bytes;
        // In milliseconds; the cast saturates.
        let need = Need { inputs: timed.inputs.clone(), urgency: (way * 1e3) as u64, memory };
        Job { id: stage.id.clone(), kind: stage.spec.kind(), seconds: timed.seconds, need }
    };
    nodes.iter().zip(timed).zip(ways).map(job).collect()
}

/// Record the fingerprint of each stage's result, so that later plans can explain what changed.
fn remember(plan: &Plan, store: &Store) -> Result<(), RunError> {
    let mut made = Vec::new();
    for stage in plan.stages() {
        if !stage.status.is_stale() || store.manifest(&stage.fingerprint)?.is_some() {
            made.push((stage.id.clone(), stage.fingerprint));
        }
    }
    Ok(store.remember(&plan.experiment.name, &made)?)
}

/// Read every entry that running this plan would use: inputs of stages to run, and entries shown in tables and figures.
/// The store sets damaged entries aside; if there are any, the plan is out of date. Returns their number.
///
/// # Errors
/// The store cannot be read.
pub fn set_aside_damaged(plan: &Plan, store: &Store) -> Result<usize, RunError> {
    let needed = plan.needed();
    let inputs = needed.iter().flat_map(|&node| plan.stage(node).inputs.iter().map(|(_, input)| *input));
    let is_shown = |node: StageId| plan.stage(node).description == Description::Scores || plan.draws(node);
    let shown = plan.stage_ids().filter(|&node| is_shown(node));
    let used: BTreeSet<_> = inputs.chain(shown).filter(|&node| !plan.stage(node).status.is_stale()).collect();
    let used: Vec<_> = used.into_iter().collect();
    let damaged = |&node: &StageId| match store.get(&plan.stage(node).fingerprint) {
        Ok(_) => Ok(0),
        Err(StoreError::Damaged { .. } | StoreError::Missing { .. }) => Ok(1),
        Err(error) => Err(error.into()),
    };
    used.par_iter().map(damaged).sum()
}
