//! Measures the speed of stages as they finish.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Event, Reporter};
use plan::{Estimates, Plan, StageId};
use store::Store;
use train::Progress;

/// Interval of writes; a killed run loses the measurements of one interval.
const INTERVAL: Duration = Duration::from_secs(1);

/// Records the speed of stages, so that later plans can estimate their times.
pub(super) struct Speeds<'a> {
    plan: &'a Plan,
    store: &'a Store,
    estimates: &'a Estimates,
    /// Stages by id.
    stages: HashMap<&'a str, StageId>,
    running: HashMap<String, Measured>,
    /// (kind, speed) of stages, not yet written.
    pending: Vec<(&'static str, f64)>,
    written: Instant,
}

/// A running stage.
struct Measured {
    threads: usize,
    /// Epochs trained in this attempt.
    epochs: usize,
}

impl Reporter for Speeds<'_> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::StageStarted { stage, threads, .. } => {
                self.running.insert(stage.clone(), Measured { threads: *threads, epochs: 0 });
            }
            Event::StageProgress { stage, progress: Progress::Epoch(_) } => {
                if let Some(measured) = self.running.get_mut(stage) {
                    measured.epochs += 1;
                }
            }
            Event::StageFinished { stage, seconds } => self.measure(stage, *seconds),
            Event::StageFound { stage }
            | Event::StageFailed { stage, .. }
            | Event::StageReturned { stage, .. } => {
                self.running.remove(stage);
            }
            _ => {}
        }
    }
}

impl<'a> Speeds<'a> {
    pub(super) fn new(plan: &'a Plan, store: &'a Store, estimates: &'a Estimates) -> Self {
        let stages = plan.stage_ids().map(|node| (plan.stage(node).id.as_str(), node)).collect();
        let (running, pending) = Default::default();
        Self { plan, store, estimates, stages, running, pending, written: Instant::now() }
    }

    fn measure(&mut self, id: &str, seconds: f64) {
        let node = self.stages.get(id).copied();
        let Some((node, Measured { threads, epochs })) = node.zip(self.running.remove(id)) else { return };
        let (spec, numerics) = (&self.plan.stage(node).spec, self.plan.numerics);
        // Training may have resumed an earlier attempt, or stopped early.
        let share = spec.train().map_or(1.0, |train| epochs as f64 / train.epochs as f64);
        let speed = share * self.estimates.of(node).throughput(seconds, numerics, threads);
        self.pending.push((spec.kind(), speed));
        if self.written.elapsed() >= INTERVAL {
            self.write();
        }
    }

    /// Write the pending measurements.
    pub(super) fn write(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if let Err(error) = self.store.note_throughputs(self.plan.numerics, &pending) {
            tracing::warn!("{error}; estimated times will be less accurate");
        }
        self.written = Instant::now();
    }
}
