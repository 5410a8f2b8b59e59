//! Bars on a terminal: the whole run, each stage that runs, and above them a line for each stage that ended.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::super::Event;
use super::plain::Lines;
use super::{Reporter, text};
use kind::text::{visible, visible_lines};
use train::Progress;

/// All bars of the process: whoever writes to the terminal meanwhile must know of them.
static TERMINAL: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Runs `write`, which writes to stderr, while the bars are out of the way.
pub fn beside_bars<T>(write: impl FnOnce() -> T) -> T {
    TERMINAL.suspend(write)
}

/// Draws on stderr.
#[derive(Debug)]
pub struct Bars {
    terminal: MultiProgress,
    run: ProgressBar,
    /// Of each stage that runs.
    stages: HashMap<String, ProgressBar>,
    lines: Lines,
}

impl Bars {
    /// Bars on stderr; nothing is drawn before the first event.
    pub fn new() -> Self {
        Self::on(TERMINAL.clone())
    }

    fn on(terminal: MultiProgress) -> Self {
        Self { terminal, run: ProgressBar::hidden(), stages: HashMap::new(), lines: Lines::default() }
    }

    fn start_run(&mut self, stages: usize) {
        self.run = self.terminal.add(ProgressBar::new(stages as u64).with_style(run_style()));
        self.run.enable_steady_tick(Duration::from_secs(1));
    }

    fn start_stage(&mut self, stage: &str, kind: &str) {
        let bar =
            ProgressBar::new(0).with_style(stage_style()).with_prefix(format!("{} ({kind})", visible(stage)));
        let bar = self.terminal.insert_before(&self.run, bar);
        bar.enable_steady_tick(Duration::from_millis(200));
        self.stages.insert(stage.to_owned(), bar);
    }

    fn progress(&self, stage: &str, progress: &Progress) {
        let Some(bar) = self.stages.get(stage) else { return };
        let (done, of) = match *progress {
            Progress::Step { epoch, epochs, images, of, .. } => (epoch * of + images, epochs * of),
            Progress::Count { done, of, .. } => (done, of),
            Progress::Epoch(_) => return,
        };
        bar.set_length(of as u64);
        bar.set_position(done as u64);
        bar.set_message(text::progress(progress));
    }

    fn remove(&mut self, stage: &str) {
        if let Some(bar) = self.stages.remove(stage) {
            bar.finish_and_clear();
            self.terminal.remove(&bar);
        }
    }

    fn end_stage(&mut self, stage: &str) {
        self.remove(stage);
        self.run.inc(1);
    }

    fn end_run(&mut self) {
        self.stages.drain().for_each(|(_, bar)| bar.finish_and_clear());
        self.run.finish_and_clear();
        self.terminal.remove(&self.run);
    }
}

impl Default for Bars {
    fn default() -> Self {
        Self::new()
    }
}

impl Reporter for Bars {
    fn event(&mut self, event: &Event) {
        let line = self.lines.of(event);
        match event {
            Event::RunStarted { stages, .. } => self.start_run(*stages),
            Event::StageStarted { stage, kind, .. } => return self.start_stage(stage, kind),
            Event::StageProgress { stage, progress } => self.progress(stage, progress),
            Event::RunFinished { .. } => self.end_run(),
            Event::StageFinished { stage, .. }
            | Event::StageFound { stage }
            | Event::StageFailed { stage, .. }
            | Event::StageSkipped { stage, .. } => self.end_stage(stage),
            Event::StageRetried { stage, .. } | Event::StageStopped { stage } => self.remove(stage),
            Event::StageWaiting { .. } | Event::StageSaid { .. } => {}
        }
        if let Some(line) = line {
            // A terminal that is gone takes no lines; the run goes on.
            let _ = self.terminal.println(visible_lines(&line));
        }
    }
}

fn run_style() -> ProgressStyle {
    style("{pos}/{len} stages [{bar:40}] {elapsed}")
}

fn stage_style() -> ProgressStyle {
    style("{spinner} {prefix} [{bar:24}] {msg}")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are right").progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressDrawTarget;

    use super::super::tests::a_run;
    use super::*;

    #[test]
    fn the_bars_follow_the_events() {
        let mut bars = Bars::on(MultiProgress::with_draw_target(ProgressDrawTarget::hidden()));
        let events = a_run();
        events[..3].iter().for_each(|event| bars.event(event));
        let stage = bars.stages["probe[seed=0]"].clone();
        assert_eq!((stage.position(), stage.length()), (64, Some(256)));
        assert_eq!(stage.message(), "epoch 1/2, 64/128 images, loss 0.2500, 32 images/s, 6.0 s left");
        events[3..10].iter().for_each(|event| bars.event(event));
        assert_eq!((bars.run.position(), bars.run.length()), (4, Some(4)));
        bars.event(&events[10]);
        assert!(bars.run.is_finished() && bars.stages.is_empty());
    }
}
