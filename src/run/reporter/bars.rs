//! Progress bars on a terminal: a line per running stage and one for the whole run. Above them, a line for each stage that
//! has ended.

use std::time::{Duration, Instant};

use super::super::Event;
use super::layout::{Layout, Line, Total, fraction, parts};
use super::plain::Lines;
use super::screen::{redraw, size};
use super::{Reporter, Throttle};
use kind::text::visible;
use train::Progress;

/// Minimum time between two drawings.
const INTERVAL: Duration = Duration::from_millis(100);

/// Draws on stderr.
#[derive(Debug)]
pub struct Bars {
    color: bool,
    state: State,
    lines: Lines,
    throttle: Throttle,
}

/// What the bars show.
#[derive(Debug)]
struct State {
    /// When the run started; `None` if it has not, or has ended.
    start: Option<Instant>,
    total: Total,
    /// Estimated seconds of all stages that have ended.
    ended_work: f64,
    /// Running stages, in the order of their starts.
    stages: Vec<Stage>,
}

/// A running stage.
#[derive(Debug)]
struct Stage {
    id: String,
    /// Estimated time in seconds.
    estimate: f64,
    /// Name of the current phase, whose progress never decreases.
    phase: String,
    fraction: f64,
    /// Share of the training that is done.
    trained: f64,
    parts: Vec<String>,
}

impl Bars {
    /// Bars on stderr; nothing is drawn before the first event.
    pub fn new(color: bool) -> Self {
        let state = State { start: None, total: Total::default(), ended_work: 0.0, stages: Vec::new() };
        Self { color, state, lines: Lines::default(), throttle: Throttle::new(INTERVAL) }
    }

    /// Draw the bars below a line of text.
    fn draw(&self, line: Option<String>) {
        let above = line.map(|line| line + "\n").unwrap_or_default();
        redraw(self.state.lines(self.layout(), size().rows), &above);
    }

    fn layout(&self) -> Layout {
        Layout { columns: size().columns, color: self.color }
    }

    /// The line of an event, colored as messages are.
    fn line(&mut self, event: &Event) -> Option<String> {
        let line = self.lines.line(event)?;
        let color = match event {
            Event::StageFailed { .. } => 31,
            Event::StageFinished { .. } => return Some(self.layout().shortened(&line)),
            Event::StageSkipped { .. }
            | Event::StageRetried { .. }
            | Event::StageReturned { .. }
            | Event::StageWarning { .. } => 33,
            _ => return Some(line),
        };
        Some(if self.color { format!("\x1b[{color}m{line}\x1b[0m") } else { line })
    }
}

impl Reporter for Bars {
    fn event(&mut self, event: &Event) {
        let line = self.line(event);
        self.state.update(event);
        match event {
            // Its bar says it.
            Event::StageStarted { .. } => {}
            Event::StageProgress { .. } => self.tick(),
            _ => self.draw(line),
        }
    }

    fn tick(&mut self) {
        if self.throttle.ready() {
            self.draw(None);
        }
    }
}

impl State {
    fn update(&mut self, event: &Event) {
        match event {
            Event::RunStarted { stages, estimate, .. } => {
                self.start = Some(Instant::now());
                self.stages.clear();
                self.ended_work = 0.0;
                self.total = Total { stages: *stages, work: *estimate, ..Total::default() };
            }
            Event::StageStarted { stage, kind, estimate, .. } => {
                self.stages.push(Stage::new(visible(stage).into_owned(), kind, *estimate));
            }
            Event::StageWaiting { stage } => self.with(stage, |stage| {
                stage.parts = vec!["waiting for another run".into()];
            }),
            Event::StageProgress { stage, progress } => self.with(stage, |stage| stage.update(progress)),
            Event::StageFinished { stage, .. }
            | Event::StageFound { stage }
            | Event::StageFailed { stage, .. } => self.end(stage),
            Event::StageSkipped { estimate, .. } => self.count(*estimate),
            Event::StageRetried { stage, .. }
            | Event::StageReturned { stage, .. }
            | Event::StageStopped { stage } => {
                self.remove(stage);
            }
            Event::StageWarning { .. } | Event::ExecutorSaid { .. } => {}
            Event::RunFinished { .. } => self.start = None,
        }
        self.measure();
    }

    fn with(&mut self, id: &str, change: impl FnOnce(&mut Stage)) {
        let id = visible(id);
        if let Some(stage) = self.stages.iter_mut().find(|stage| stage.id == id) {
            change(stage);
        }
    }

    fn remove(&mut self, id: &str) -> Option<Stage> {
        let id = visible(id);
        let position = self.stages.iter().position(|stage| stage.id == id)?;
        Some(self.stages.remove(position))
    }

    fn end(&mut self, id: &str) {
        if let Some(stage) = self.remove(id) {
            self.count(stage.estimate);
        }
    }

    /// Count a stage that has ended or was skipped.
    fn count(&mut self, estimate: f64) {
        self.total.ended += 1;
        self.ended_work += estimate;
    }

    /// Update the work that is done. It never decreases, even if a stage starts over.
    fn measure(&mut self) {
        let running: f64 = self.stages.iter().map(|stage| stage.trained * stage.estimate).sum();
        self.total.done = self.total.done.max(self.ended_work + running);
    }

    /// The lines to draw on a terminal with this number of rows; none before and after the run.
    fn lines(&self, layout: Layout, rows: usize) -> Vec<Line> {
        let Some(start) = self.start else { return Vec::new() };
        let shown = self.stages.len().min(rows.saturating_sub(4).max(1));
        let width = layout.name_width(self.stages.iter().map(|stage| stage.id.as_str()));
        let stages = self.stages[..shown].iter();
        let mut lines: Vec<_> =
            stages.map(|stage| layout.stage(&stage.id, width, stage.fraction, &stage.parts)).collect();
        if shown < self.stages.len() {
            lines.push(layout.text(&format!("and {} more", self.stages.len() - shown)));
        }
        lines.push(layout.total(&Total { elapsed: start.elapsed().as_secs_f64(), ..self.total }));
        lines
    }
}

impl Stage {
    fn new(id: String, kind: &str, estimate: f64) -> Self {
        Self { id, estimate, phase: String::new(), fraction: 0.0, trained: 0.0, parts: vec![kind.to_owned()] }
    }

    fn update(&mut self, progress: &Progress) {
        let (Some(done), phase) = (fraction(progress), phase(progress)) else { return };
        if self.phase != phase {
            phase.clone_into(&mut self.phase);
            self.fraction = 0.0;
        }
        if done >= self.fraction {
            self.fraction = done;
            self.parts = parts(progress);
        }
        if matches!(progress, Progress::Step { .. }) {
            self.trained = self.trained.max(done);
        }
    }
}

/// Name of the phase of a stage that a progress belongs to.
fn phase(progress: &Progress) -> &str {
    match progress {
        Progress::Step { .. } | Progress::Epoch(_) => "training",
        Progress::Count { what, .. } => what,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::a_run;
    use super::*;

    fn state_after(events: &[Event]) -> State {
        let mut state = Bars::new(false).state;
        events.iter().for_each(|event| state.update(event));
        state
    }

    fn lines(state: &State, columns: usize) -> Vec<String> {
        let lines = state.lines(Layout { columns, color: false }, 24);
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn f09_the_bars_follow_the_events() {
        let events = a_run();
        let lines = lines(&state_after(&events[..3]), 80);
        assert_eq!(lines[0], "probe[seed=0]  [===>          ]  epoch 1/2, 6.0 s left, loss 0.2500");
        assert!(lines[1].starts_with("[>             ]  6 %, 0/4 stages, about "), "{lines:?}");
        let ended = state_after(&events[..10]);
        assert_eq!((ended.total.ended, ended.total.done, ended.stages.len()), (4, 40.0, 0));
        assert!(state_after(&events).lines(Layout { columns: 80, color: false }, 24).is_empty());
    }

    #[test]
    fn f09_progress_does_not_decrease() {
        let mut state = state_after(&a_run()[..2]);
        let step = |epoch, images| Event::StageProgress {
            stage: "probe[seed=0]".into(),
            progress: Progress::Step { epoch, epochs: 2, images, of: 128, loss: 0.5, images_per_second: 1.0 },
        };
        state.update(&step(1, 64));
        state.update(&step(0, 32));
        assert_eq!((state.stages[0].fraction, state.total.done), (0.75, 7.5));
        state.update(&Event::StageRetried { stage: "probe[seed=0]".into(), message: String::new() });
        assert_eq!((state.stages.len(), state.total.done), (0, 7.5));
    }

    #[test]
    fn f09_more_stages_than_rows_are_counted() {
        let mut state = state_after(&a_run()[..1]);
        for number in 1..=9 {
            let (stage, kind) = (format!("stage_{number}"), "merge".into());
            state.update(&Event::StageStarted { stage, kind, number, of: 9, threads: 1, estimate: 1.0 });
        }
        let lines = state.lines(Layout { columns: 40, color: false }, 8);
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(
            texts[..5],
            ["stage_1  merge", "stage_2  merge", "stage_3  merge", "stage_4  merge", "and 5 more"]
        );
        assert_eq!(lines.len(), 6);
    }
}
