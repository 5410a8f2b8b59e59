//! Lines without cursor movements: a line when a stage starts or ends, and one now and then between.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use super::super::Event;
use super::{Reporter, Throttles, text};
use train::Progress;

/// Time between two lines of one stage.
const INTERVAL: Duration = Duration::from_secs(10);

/// Writes plain lines. What cannot be written is lost: a run does not stop for its reporter.
#[derive(Debug)]
pub struct Plain<W> {
    out: W,
    lines: Lines,
    throttles: Throttles,
}

impl<W: Write> Plain<W> {
    /// Lines to `out`.
    pub fn new(out: W) -> Self {
        Self { out, lines: Lines::default(), throttles: Throttles::new(INTERVAL) }
    }
}

impl<W: Write + Send> Reporter for Plain<W> {
    fn event(&mut self, event: &Event) {
        let line = match event {
            Event::StageProgress { stage, progress } if self.throttles.ready(stage) => {
                Some(self.lines.progress(stage, progress))
            }
            _ => None,
        };
        self.throttles.forget(event);
        let lines = line.into_iter().chain(self.lines.of(event));
        for line in lines {
            let _ = writeln!(self.out, "{line}");
        }
    }
}

/// The text of events, with what must be remembered for it.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Of each stage that runs.
    stages: HashMap<String, Running>,
}

/// What is remembered of a stage that runs.
#[derive(Debug, Default)]
struct Running {
    /// `3/12`.
    number: String,
    /// Its last validation scores.
    validation: Option<String>,
}

impl Lines {
    /// The line of an event; `None` for progress, which is remembered.
    pub(super) fn of(&mut self, event: &Event) -> Option<String> {
        let text = self.text(event);
        if let Some(stage) = event.end_of() {
            self.stages.remove(stage);
        }
        text
    }

    fn text(&mut self, event: &Event) -> Option<String> {
        Some(match event {
            Event::RunStarted { experiment, stages, fresh } => {
                format!("{experiment}: {stages} to run, {fresh} fresh")
            }
            Event::StageStarted { stage, kind, number, of, .. } => {
                let running = Running { number: format!("{number}/{of}"), validation: None };
                self.stages.insert(stage.clone(), running);
                format!("{}: {kind}", self.name(stage))
            }
            Event::StageProgress { stage, progress } => {
                self.remember(stage, progress);
                return None;
            }
            Event::StageWaiting { stage } => {
                format!("{}: another run is making it; waiting for that", self.name(stage))
            }
            Event::StageSaid { stage, message } => format!("{}: {message}", self.name(stage)),
            Event::StageFinished { stage, seconds } => self.finished(stage, *seconds),
            Event::StageFound { stage } => format!("{}: made meanwhile", self.name(stage)),
            Event::StageFailed { stage, message } => format!("{}: failed: {message}", self.name(stage)),
            Event::StageRetried { stage, message } => {
                format!("{}: will run again, alone: {message}", self.name(stage))
            }
            Event::StageStopped { stage } => format!("{}: stopped", self.name(stage)),
            Event::StageSkipped { stage, because_of } => {
                format!("{stage}: skipped, since {because_of} failed")
            }
            // The command has the last word, over all its experiments.
            Event::RunFinished { .. } => return None,
        })
    }

    /// `[3/12] ft_a[seed=0]`.
    fn name(&self, stage: &str) -> String {
        let number = self.stages.get(stage).map_or("?", |running| running.number.as_str());
        format!("[{number}] {stage}")
    }

    /// `[3/12] ft_a[seed=0]: epoch 2/8, …`.
    fn progress(&self, stage: &str, progress: &Progress) -> String {
        format!("{}: {}", self.name(stage), text::progress(progress))
    }

    fn finished(&self, stage: &str, seconds: f64) -> String {
        let validation = self.stages.get(stage).and_then(|running| running.validation.as_deref());
        let validation = validation.map(|scores| format!(", {scores}")).unwrap_or_default();
        format!("{}: done in {}{validation}", self.name(stage), text::duration(seconds))
    }

    fn remember(&mut self, stage: &str, progress: &Progress) {
        if let (Progress::Epoch(record), Some(running)) = (progress, self.stages.get_mut(stage)) {
            running.validation = text::validation(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::a_run;
    use super::*;

    #[test]
    fn a_run_reads_like_this() {
        let mut out = Vec::new();
        let mut plain = Plain::new(&mut out);
        a_run().iter().for_each(|event| plain.event(event));
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        tiny: 4 to run, 2 fresh
        [1/4] probe[seed=0]: finetune
        [1/4] probe[seed=0]: done in 12 s, val macro_f1 0.7500, accuracy 0.8000
        [2/4] twin: merge
        [2/4] twin: made meanwhile
        [3/4] merged: merge
        [3/4] merged: failed: the sources differ
        final: skipped, since merged failed
        ");
    }

    #[test]
    fn a_long_stage_tells_how_far_it_is() {
        let mut out = Vec::new();
        let mut plain = Plain::new(&mut out);
        plain.throttles = Throttles::new(Duration::ZERO);
        a_run()[1..4].iter().for_each(|event| plain.event(event));
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        [1/4] probe[seed=0]: finetune
        [1/4] probe[seed=0]: epoch 1/2, 64/128 images, loss 0.2500, 32 images/s, 6.0 s left
        [1/4] probe[seed=0]: epoch 1: loss 0.5000, lr 1.000e-3, val macro_f1 0.7500, accuracy 0.8000 (best so far)
        ");
    }
}
