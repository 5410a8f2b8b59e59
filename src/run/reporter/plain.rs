//! Lines without cursor movements: a line when a stage starts or ends, and one now and then between.

use std::io::Write;
use std::time::Duration;

use super::super::Event;
use super::{Reporter, Throttle, text};
use crate::stage::Progress;

/// Time between two lines of one stage.
const INTERVAL: Duration = Duration::from_secs(10);

/// Writes plain lines. What cannot be written is lost: a run does not stop for its reporter.
#[derive(Debug)]
pub struct Plain<W> {
    out: W,
    lines: Lines,
    throttle: Throttle,
}

impl<W: Write> Plain<W> {
    /// Lines to `out`.
    pub fn new(out: W) -> Self {
        Self { out, lines: Lines::default(), throttle: Throttle::new(INTERVAL) }
    }
}

impl<W: Write + Send> Reporter for Plain<W> {
    fn event(&mut self, event: &Event) {
        if matches!(event, Event::StageStarted { .. }) {
            self.throttle.restart();
        }
        let line = match event {
            Event::StageProgress { progress, .. } if self.throttle.ready() => {
                Some(self.lines.progress(progress))
            }
            _ => None,
        };
        let lines = line.into_iter().chain(self.lines.of(event));
        for line in lines {
            let _ = writeln!(self.out, "{line}");
        }
    }
}

/// The text of events, with what must be remembered for it.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// `[3/12] ft_a[seed=0]`.
    stage: String,
    /// Last validation scores of the stage.
    validation: Option<String>,
}

impl Lines {
    /// The line of an event; `None` for progress, which is remembered.
    pub(super) fn of(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::RunStarted { experiment, stages, fresh } => {
                Some(format!("{experiment}: {stages} to run, {fresh} fresh"))
            }
            Event::StageStarted { stage, kind, number, of } => {
                self.stage = format!("[{number}/{of}] {stage}");
                self.validation = None;
                Some(format!("{}: {kind}", self.stage))
            }
            Event::StageProgress { progress, .. } => {
                self.remember(progress);
                None
            }
            Event::StageFinished { seconds, .. } => Some(self.finished(*seconds)),
            Event::StageFound { .. } => Some(format!("{}: made meanwhile", self.stage)),
            Event::StageFailed { message, .. } => Some(format!("{}: failed: {message}", self.stage)),
            Event::StageSkipped { stage, because_of } => {
                Some(format!("{stage}: skipped, since {because_of} failed"))
            }
            // The command has the last word, over all its experiments.
            Event::RunFinished { .. } => None,
        }
    }

    /// `[3/12] ft_a[seed=0]: epoch 2/8, …`.
    fn progress(&self, progress: &Progress) -> String {
        format!("{}: {}", self.stage, text::progress(progress))
    }

    fn finished(&self, seconds: f64) -> String {
        let validation = self.validation.as_deref().map(|scores| format!(", {scores}")).unwrap_or_default();
        format!("{}: done in {}{validation}", self.stage, text::duration(seconds))
    }

    fn remember(&mut self, progress: &Progress) {
        if let Progress::Epoch(record) = progress {
            self.validation = text::validation(record);
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
        plain.throttle = Throttle::new(Duration::ZERO);
        a_run()[1..4].iter().for_each(|event| plain.event(event));
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        [1/4] probe[seed=0]: finetune
        [1/4] probe[seed=0]: epoch 1/2, 64/128 images, loss 0.6931, 32 images/s, 6.0 s left
        [1/4] probe[seed=0]: epoch 1: loss 0.5000, lr 1.000e-3, val macro_f1 0.7500, accuracy 0.8000 (best so far)
        ");
    }
}
