//! Plain lines: one when a stage starts or ends, and progress at intervals.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use super::super::Event;
use super::{Reporter, Throttles, text};
use kind::text::{visible, visible_lines};
use train::Progress;

/// Minimum time between two progress lines of a stage.
const INTERVAL: Duration = Duration::from_secs(10);

/// Writes plain lines. Write errors are ignored: a run does not stop because of its reporter.
#[derive(Debug)]
pub struct Plain<W> {
    out: W,
    lines: Lines,
    throttles: Throttles,
}

impl<W: Write> Plain<W> {
    /// Write to `out`.
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
        let lines = line.into_iter().chain(self.lines.line(event));
        for line in lines {
            let _ = writeln!(self.out, "{line}");
        }
    }
}

/// Formats events as lines of text.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Running stages by id.
    stages: HashMap<String, Running>,
}

/// A running stage.
#[derive(Debug, Default)]
struct Running {
    /// `3/12`.
    number: String,
    /// Validation scores of the best epoch so far, which is the one that is kept.
    validation: Option<String>,
}

impl Lines {
    /// The line of an event; `None` for progress.
    pub(super) fn line(&mut self, event: &Event) -> Option<String> {
        let text = self.text(event);
        if let Some(stage) = event.ended_stage() {
            self.stages.remove(stage);
        }
        text
    }

    fn text(&mut self, event: &Event) -> Option<String> {
        Some(match event {
            Event::RunStarted { experiment, stages, fresh, .. } => {
                format!("{}: {stages} to run, {fresh} fresh", visible(experiment))
            }
            Event::StageStarted { stage, kind, number, of, .. } => {
                let running = Running { number: format!("{number}/{of}"), validation: None };
                self.stages.insert(stage.clone(), running);
                format!("{}: {kind}", self.name(stage))
            }
            Event::StageProgress { stage, progress } => {
                self.note_validation(stage, progress);
                return None;
            }
            Event::StageWaiting { stage } => {
                format!("{}: waiting for another run, which is making it", self.name(stage))
            }
            Event::StageWarning { stage, message } => {
                format!("{}: {}", self.name(stage), visible_lines(message))
            }
            Event::StageFinished { stage, seconds } => self.finished(stage, *seconds),
            Event::StageFound { stage } => format!("{}: found in the store", self.name(stage)),
            Event::StageFailed { stage, message } => {
                format!("{}: failed: {}", self.name(stage), visible_lines(message))
            }
            Event::StageRetried { stage, message } => {
                format!("{}: will be retried alone: {}", self.name(stage), visible_lines(message))
            }
            Event::StageReturned { stage, message } => {
                format!("{}: waits for its turn again: {}", self.name(stage), visible_lines(message))
            }
            Event::ExecutorSaid { message } => visible_lines(message).into_owned(),
            Event::StageStopped { stage } => format!("{}: stopped", self.name(stage)),
            Event::StageSkipped { stage, because_of, .. } => {
                format!("{}: skipped because {} failed", visible(stage), visible(because_of))
            }
            // The command prints the totals of all experiments.
            Event::RunFinished { .. } => return None,
        })
    }

    /// `[3/12] ft_a[seed=0]`.
    fn name(&self, stage: &str) -> String {
        let number = self.stages.get(stage).map_or("?", |running| running.number.as_str());
        format!("[{number}] {}", visible(stage))
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

    fn note_validation(&mut self, stage: &str, progress: &Progress) {
        if let (Progress::Epoch(record), Some(running)) = (progress, self.stages.get_mut(stage))
            && record.best
        {
            running.validation = text::validation(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::a_run;
    use super::*;

    #[test]
    fn a_run_has_one_line_for_each_start_and_end() {
        let mut out = Vec::new();
        let mut plain = Plain::new(&mut out);
        a_run().iter().for_each(|event| plain.event(event));
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        tiny: 4 to run, 2 fresh
        [1/4] probe[seed=0]: finetune
        [1/4] probe[seed=0]: done in 12 s, val macro_f1 0.7500, accuracy 0.8000
        [2/4] twin: merge
        [2/4] twin: found in the store
        [3/4] merged: merge
        [3/4] merged: failed: the sources differ
        final: skipped because merged failed
        ");
    }

    #[test]
    fn f24_a_training_ends_with_the_scores_of_the_epoch_that_is_kept() {
        let mut lines = Lines::default();
        let run = a_run();
        let mut ended = Vec::new();
        for event in &run[..6] {
            ended.extend(lines.line(event));
            if let Event::StageProgress { stage, progress: Progress::Epoch(record) } = event {
                let val = record.val.iter().map(|(name, _)| (name.clone(), 0.0)).collect();
                let worse = train::EpochRecord { epoch: 1, best: false, val, ..record.clone() };
                lines.line(&Event::StageProgress { stage: stage.clone(), progress: Progress::Epoch(worse) });
            }
        }
        let end = "[1/4] probe[seed=0]: done in 12 s, val macro_f1 0.7500, accuracy 0.8000";
        assert!(ended.iter().any(|line| line == end), "{ended:?}");
    }

    #[test]
    fn f22_control_characters_of_names_and_messages_are_escaped() {
        let mut lines = Lines::default();
        let (stage, message) =
            ("a\u{1b}[2J\n[x=\r]".to_owned(), "first\n    second\u{7}\u{9b}31m".to_owned());
        let failed = lines.line(&Event::StageFailed { stage, message }).unwrap();
        assert_eq!(failed, "[?] a\\u{1b}[2J\\n[x=\\r]: failed: first\n    second\\u{7}\\u{9b}31m");
    }

    #[test]
    fn a_long_stage_reports_progress() {
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
