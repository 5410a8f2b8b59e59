//! How fast stages were, measured as they finish.

use std::collections::HashMap;

use super::{Event, Reporter};
use plan::{Estimates, Plan};
use store::Store;
use train::Progress;

/// Notes how fast stages were, so that later plans know how long they take.
pub(super) struct Speeds<'a> {
    plan: &'a Plan,
    store: &'a Store,
    estimates: &'a Estimates,
    running: HashMap<String, Measured>,
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
            _ => {}
        }
    }
}

impl<'a> Speeds<'a> {
    pub(super) fn new(plan: &'a Plan, store: &'a Store, estimates: &'a Estimates) -> Self {
        Self { plan, store, estimates, running: HashMap::new() }
    }

    fn note(&mut self, id: &str, seconds: f64) {
        let node = self.plan.order.iter().copied().find(|&node| self.plan.graph[node].id == id);
        let Some((node, Measured { threads, epochs })) = node.zip(self.running.remove(id)) else { return };
        let (spec, numerics) = (&self.plan.graph[node].spec, self.plan.numerics);
        // A training may have gone on where another attempt stopped, or have ended early.
        let share = spec.train().map_or(1.0, |train| epochs as f64 / train.epochs as f64);
        let speed = share * self.estimates.of(node).throughput(seconds, numerics, threads);
        if let Err(error) = self.store.note_throughput(numerics, spec.kind(), speed) {
            tracing::warn!("{error}; the times that plans tell will be less exact");
        }
    }
}
