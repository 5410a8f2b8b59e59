//! How fast stages were, measured as they finish.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Event, Reporter};
use plan::{Estimates, Plan, StageId};
use store::Store;
use train::Progress;

/// Time between two writes: what a run that is killed forgets.
const INTERVAL: Duration = Duration::from_secs(1);

/// Notes how fast stages were, so that later plans know how long they take.
pub(super) struct Speeds<'a> {
    plan: &'a Plan,
    store: &'a Store,
    estimates: &'a Estimates,
    /// By id.
    stages: HashMap<&'a str, StageId>,
    running: HashMap<String, Measured>,
    /// (kind, speed) of stages that are not written down yet.
    noted: Vec<(&'static str, f64)>,
    written: Instant,
}

/// A stage that runs.
struct Measured {
    threads: usize,
    /// Epochs of this attempt.
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
            Event::StageFinished { stage, seconds } => self.note(stage, *seconds),
            Event::StageFound { stage } | Event::StageFailed { stage, .. } => {
                self.running.remove(stage);
            }
            _ => {}
        }
    }
}

impl<'a> Speeds<'a> {
    pub(super) fn new(plan: &'a Plan, store: &'a Store, estimates: &'a Estimates) -> Self {
        let stages = plan.stage_ids().map(|node| (plan.stage(node).id.as_str(), node)).collect();
        let (running, noted) = Default::default();
        Self { plan, store, estimates, stages, running, noted, written: Instant::now() }
    }

    fn note(&mut self, id: &str, seconds: f64) {
        let node = self.stages.get(id).copied();
        let Some((node, Measured { threads, epochs })) = node.zip(self.running.remove(id)) else { return };
        let (spec, numerics) = (&self.plan.stage(node).spec, self.plan.numerics);
        // A training may have gone on where another attempt stopped, or have ended early.
        let share = spec.train().map_or(1.0, |train| epochs as f64 / train.epochs as f64);
        let speed = share * self.estimates.of(node).throughput(seconds, numerics, threads);
        self.noted.push((spec.kind(), speed));
        if self.written.elapsed() >= INTERVAL {
            self.write();
        }
    }

    /// Writes down what was noted since the last time.
    pub(super) fn write(&mut self) {
        let noted = std::mem::take(&mut self.noted);
        if let Err(error) = self.store.note_throughputs(self.plan.numerics, &noted) {
            tracing::warn!("{error}; the times that plans tell will be less exact");
        }
        self.written = Instant::now();
    }
}
