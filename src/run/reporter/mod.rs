//! Who draws or writes the events of a run. Reporters know nothing but events.

mod bars;
mod json;
mod plain;
mod text;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Event;

pub use bars::{Bars, beside_bars};
pub use json::Json;
pub use plain::Plain;
pub use text::{duration, epoch as epoch_line, progress as progress_text};

/// Gets every event of a run, in order.
pub trait Reporter: Send {
    /// Something happened.
    fn event(&mut self, event: &Event);
}

/// Several reporters as one; none at all is a quiet run.
impl Reporter for Vec<Box<dyn Reporter>> {
    fn event(&mut self, event: &Event) {
        for reporter in self {
            reporter.event(event);
        }
    }
}

/// Lets something through at most once in a while.
#[derive(Debug)]
pub(super) struct Throttle {
    interval: Duration,
    last: Instant,
}

impl Throttle {
    /// The first time comes after one interval.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, last: Instant::now() }
    }

    /// Whether it is time again; if so, the next interval starts.
    pub(super) fn ready(&mut self) -> bool {
        let ready = self.last.elapsed() >= self.interval;
        if ready {
            self.last = Instant::now();
        }
        ready
    }
}

/// A throttle for each stage.
#[derive(Debug)]
pub(super) struct Throttles {
    interval: Duration,
    stages: HashMap<String, Throttle>,
}

impl Throttles {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, stages: HashMap::new() }
    }

    /// A stage that says no more needs none.
    pub(super) fn forget(&mut self, event: &Event) {
        if let Some(stage) = event.end_of() {
            self.stages.remove(stage);
        }
    }

    /// Whether it is time again for a stage; the first time comes one interval after the first question.
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

    /// A stage that finishes, one that was made meanwhile, one that fails and one that is skipped for it.
    pub(crate) fn a_run() -> Vec<Event> {
        let started = |stage: &str, kind: &str, number| Event::StageStarted {
            stage: stage.into(),
            kind: kind.into(),
            number,
            of: 4,
            threads: 2,
        };
        let going = |progress| Event::StageProgress { stage: "probe[seed=0]".into(), progress };
        vec![
            Event::RunStarted { experiment: "tiny".into(), stages: 4, fresh: 2 },
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
            Event::StageSkipped { stage: "final".into(), because_of: "merged".into() },
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
    fn a_throttle_waits_for_one_interval() {
        assert!(!Throttle::new(Duration::from_secs(3600)).ready());
        assert!(Throttle::new(Duration::ZERO).ready());
    }
}
