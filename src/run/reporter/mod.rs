//! Reporters display or write the events of a run. They depend on nothing but events.

mod bars;
mod count;
mod json;
mod layout;
mod plain;
mod screen;
mod text;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Event;

pub use bars::Bars;
pub use count::Count;
pub use json::Json;
pub use plain::Plain;
pub use screen::{beside_bars, erase_bars};
pub use text::{duration, epoch as epoch_line, progress as progress_text};

/// Receives every event of a run, in order.
pub trait Reporter: Send {
    /// Handle an event.
    fn event(&mut self, event: &Event);

    /// Called several times a second between events.
    fn tick(&mut self) {}
}

/// Several reporters as one; an empty list is a quiet run.
impl Reporter for Vec<Box<dyn Reporter>> {
    fn event(&mut self, event: &Event) {
        for reporter in self {
            reporter.event(event);
        }
    }

    fn tick(&mut self) {
        for reporter in self {
            reporter.tick();
        }
    }
}

/// Limits how often something happens.
#[derive(Debug)]
pub(super) struct Throttle {
    interval: Duration,
    last: Instant,
}

impl Throttle {
    /// A throttle that is ready after one interval.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, last: Instant::now() }
    }

    /// Whether the interval has passed; if so, the next one starts.
    pub(super) fn ready(&mut self) -> bool {
        let ready = self.last.elapsed() >= self.interval;
        if ready {
            self.last = Instant::now();
        }
        ready
    }
}

/// One throttle per stage.
#[derive(Debug)]
pub(super) struct Throttles {
    interval: Duration,
    stages: HashMap<String, Throttle>,
}

impl Throttles {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, stages: HashMap::new() }
    }

    /// Remove the throttle of a stage that has ended.
    pub(super) fn forget(&mut self, event: &Event) {
        if let Some(stage) = event.ended_stage() {
            self.stages.remove(stage);
        }
    }

    /// Whether the interval of a stage has passed; its first one starts with the first call.
    pub(super) fn ready(&mut self, stage: &str) -> bool {
        match self.stages.get_mut(stage) {
            Some(throttle) => throttle.ready(),
            None => {
                let mut throttle = Throttle::new(self.interval);
                let ready = throttle.ready();
                self.stages.insert(stage.to_owned(), throttle);
                ready
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use train::{EpochRecord, Progress};

    /// A stage that finishes, one whose result was found, one that fails, and one that is skipped as a result.
    pub(crate) fn a_run() -> Vec<Event> {
        let started = |stage: &str, kind: &str, number| Event::StageStarted {
            stage: stage.into(),
            kind: kind.into(),
            number,
            of: 4,
            threads: 2,
            estimate: 10.0,
        };
        let going = |progress| Event::StageProgress { stage: "probe[seed=0]".into(), progress };
        vec![
            Event::RunStarted { experiment: "tiny".into(), stages: 4, fresh: 2, estimate: 40.0 },
            started("probe[seed=0]", "finetune", 1),
            going(Progress::Step {
                epoch: 0,
                epochs: 2,
                images: 64,
                of: 128,
                loss: 0.25,
                images_per_second: 32.0,
            }),
            going(Progress::Epoch(EpochRecord {
                epoch: 0,
                lr: 1e-3,
                train_loss: 0.5,
                val: [("macro_f1".to_owned(), 0.75), ("accuracy".to_owned(), 0.8)].into_iter().collect(),
                best: true,
            })),
            Event::StageFinished { stage: "probe[seed=0]".into(), seconds: 12.34 },
            started("twin", "merge", 2),
            Event::StageFound { stage: "twin".into() },
            started("merged", "merge", 3),
            Event::StageFailed { stage: "merged".into(), message: "the sources differ".into() },
            Event::StageSkipped { stage: "final".into(), because_of: "merged".into(), estimate: 10.0 },
            Event::RunFinished {
                executed: 1,
                fresh: 3,
                failed: 1,
                skipped: 1,
                seconds: 12.5,
                interrupted: false,
            },
        ]
    }

    #[test]
    fn a_throttle_is_ready_after_one_interval() {
        assert!(!Throttle::new(Duration::from_secs(3600)).ready());
        assert!(Throttle::new(Duration::ZERO).ready());
    }
}
