//! Lines of progress that fit the terminal. Pure functions.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::text::{duration, time_left};
use train::Progress;

/// Width of a bar, with its brackets.
const BAR: usize = 16;

/// Terminals narrower than this have no bars.
const NARROW: usize = 50;

/// Share of the estimated work that counts as done in the estimated time, so that the first measurements do not dominate
/// the time left.
const PRIOR: f64 = 0.05;

/// A line of text, with its width on the terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) width: usize,
}

/// How to lay out lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Columns of the terminal. Lines are at least one column shorter, so that they never wrap.
    pub(super) columns: usize,
    /// Whether bars are colored.
    pub(super) color: bool,
}

/// Progress of the whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Total {
    /// Stages that have ended.
    pub(super) ended: usize,
    /// All stages.
    pub(super) stages: usize,
    /// Work that is done, in estimated seconds.
    pub(super) done: f64,
    /// All work, in estimated seconds.
    pub(super) work: f64,
    /// Elapsed time in seconds.
    pub(super) elapsed: f64,
}

impl Total {
    /// Share of the work that is done, from 0 to 1.
    fn fraction(&self) -> f64 {
        if self.work > 0.0 { (self.done / self.work).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Expected seconds until the run ends, at the speed so far.
    fn seconds_left(&self) -> f64 {
        let left = (self.work - self.done).max(0.0);
        let (work, time) = (self.done + PRIOR * self.work, self.elapsed + PRIOR * self.work);
        if work > 0.0 { left * time / work } else { 0.0 }
    }
}

impl Layout {
    /// `ft_a[seed=0]  [====>     ]  epoch 3/10, 12 s left, loss 0.4121`; names are padded to a width.
    pub(super) fn stage(&self, name: &str, name_width: usize, fraction: f64, parts: &[String]) -> Line {
        let mut line = Line::default();
        line.push(&pad(&fit(name, name_width), name_width));
        self.push_bar(&mut line, fraction);
        self.push_parts(&mut line, parts);
        line
    }

    /// `[====>     ]  41 %, 12/58 stages, about 5 min 10 s left`
    pub(super) fn total(&self, total: &Total) -> Line {
        let mut line = Line::default();
        self.push_bar(&mut line, total.fraction());
        let parts = [
            format!("{:.0} %", 100.0 * total.fraction()),
            format!("{}/{} stages", total.ended, total.stages),
            format!("about {} left", duration(total.seconds_left())),
            format!("{} elapsed", duration(total.elapsed)),
        ];
        self.push_parts(&mut line, &parts);
        line
    }

    /// `[====>     ]  410/1000 images, about 12 s left`
    pub(super) fn count(&self, done: usize, of: usize, what: &str, elapsed: f64) -> Line {
        let mut line = Line::default();
        self.push_bar(&mut line, done as f64 / of.max(1) as f64);
        let mut parts = vec![format!("{done}/{of} {what}")];
        if done > 0 {
            parts.push(format!(
                "about {} left",
                duration(elapsed * of.saturating_sub(done) as f64 / done as f64)
            ));
        }
        self.push_parts(&mut line, &parts);
        line
    }

    /// A line of text.
    pub(super) fn text(&self, text: &str) -> Line {
        let text = fit(text, self.limit());
        Line { width: text.width(), text }
    }

    /// As many parts of a text, separated by `, `, as fit.
    pub(super) fn shortened(&self, text: &str) -> String {
        let mut line = Line::default();
        self.push_parts(&mut line, &text.split(", ").map(str::to_owned).collect::<Vec<_>>());
        line.text
    }

    /// Width of a column of these names.
    pub(super) fn name_width<'a>(&self, names: impl Iterator<Item = &'a str>) -> usize {
        let longest = names.map(UnicodeWidthStr::width).max().unwrap_or_default();
        longest.min(self.columns * 2 / 5).min(self.limit())
    }

    fn limit(&self) -> usize {
        self.columns.saturating_sub(1)
    }

    fn push_bar(&self, line: &mut Line, fraction: f64) {
        if self.columns >= NARROW {
            line.separate();
            let (done, rest) = bar(fraction, BAR - 2);
            let done = if self.color { format!("\x1b[32m{done}\x1b[0m") } else { done };
            line.text.push_str(&format!("[{done}{rest}]"));
            line.width += BAR;
        }
    }

    /// As many parts as fit; the first one is shortened if necessary.
    fn push_parts(&self, line: &mut Line, parts: &[String]) {
        let Some((first, others)) = parts.split_first() else { return };
        line.separate();
        line.push(&fit(first, self.limit().saturating_sub(line.width)));
        for part in others {
            let part = format!(", {part}");
            if line.width + part.width() > self.limit() {
                return;
            }
            line.push(&part);
        }
    }
}

impl Line {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.width += text.width();
    }

    fn separate(&mut self) {
        if !self.text.is_empty() {
            self.push("  ");
        }
    }
}

/// The done and the remaining part of a bar.
fn bar(fraction: f64, width: usize) -> (String, String) {
    let filled = (fraction.clamp(0.0, 1.0) * width as f64).floor() as usize;
    let head = if filled < width { ">" } else { "" };
    ("=".repeat(filled) + head, " ".repeat(width - filled - head.len()))
}

/// The beginning of a text that is too wide, with an ellipsis.
pub(super) fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut left = width.saturating_sub(1);
    for c in text.chars() {
        let Some(rest) = left.checked_sub(c.width().unwrap_or(0)) else { break };
        left = rest;
        short.push(c);
    }
    if width > 0 { short + "…" } else { short }
}

fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// Share of the current phase of a stage that is done, from 0 to 1; `None` if the progress does not tell.
pub(super) fn fraction(progress: &Progress) -> Option<f64> {
    let share = |done: usize, of: usize| if of > 0 { (done as f64 / of as f64).min(1.0) } else { 0.0 };
    match *progress {
        Progress::Step { epoch, epochs, images, of, .. } => Some(share(epoch * of + images, epochs * of)),
        Progress::Count { done, of, .. } => Some(share(done, of)),
        Progress::Epoch(_) => None,
    }
}

/// The text of a stage's progress, the most important parts first.
pub(super) fn parts(progress: &Progress) -> Vec<String> {
    match progress {
        Progress::Step { epoch, epochs, loss, images_per_second, .. } => {
            let left = time_left(progress).map(|left| format!("{} left", duration(left)));
            let epoch = format!("epoch {}/{epochs}", epoch + 1);
            let others = [format!("loss {loss:.4}"), format!("{images_per_second:.0} images/s")];
            std::iter::once(epoch).chain(left).chain(others).collect()
        }
        other => vec![super::text::progress(other)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(columns: usize) -> Layout {
        Layout { columns, color: false }
    }

    fn step() -> Progress {
        Progress::Step { epoch: 2, epochs: 10, images: 50, of: 100, loss: 0.4121, images_per_second: 95.2 }
    }

    #[test]
    fn f09_a_stage_is_one_line_that_fits_the_terminal() {
        let name = "merged_ft[seed=0,target=lesions]";
        let line = |columns| {
            let layout = layout(columns);
            let width = layout.name_width([name].into_iter());
            layout.stage(name, width, 0.25, &parts(&step()))
        };
        assert_eq!(
            line(80).text,
            "merged_ft[seed=0,target=lesions]  [===>          ]  epoch 3/10, 7.9 s left"
        );
        assert_eq!(
            line(120).text,
            "merged_ft[seed=0,target=lesions]  [===>          ]  epoch 3/10, 7.9 s left, loss 0.4121, 95 images/s"
        );
        for columns in 0..150 {
            let line = line(columns);
            assert_eq!(line.width, line.text.width());
            assert!(line.width < columns.max(4), "{columns}: {line:?}");
        }
    }

    #[test]
    fn f09_scores_that_do_not_fit_are_left_out() {
        let text = "[14/68] probe_b: done in 0.3 s, val macro_f1 0.2480, accuracy 0.3200";
        assert_eq!(layout(80).shortened(text), text);
        assert_eq!(layout(60).shortened(text), "[14/68] probe_b: done in 0.3 s, val macro_f1 0.2480");
        assert_eq!(layout(20).shortened(text), "[14/68] probe_b: d…");
    }

    #[test]
    fn a_count_has_the_time_left_at_the_speed_so_far() {
        let count = |done| layout(80).count(done, 1000, "images", 10.0).text;
        assert_eq!(count(0), "[>             ]  0/1000 images");
        assert_eq!(count(250), "[===>          ]  250/1000 images, about 30 s left");
        assert!((0..150).all(|columns| layout(columns).count(5, 10, "images", 1.0).width < columns.max(4)));
    }

    #[test]
    fn f09_wide_characters_count_as_two_columns() {
        assert_eq!(fit("模型模型", 8), "模型模型");
        assert_eq!(fit("模型模型", 7), "模型模…");
        assert_eq!(fit("模型模型", 6), "模型…");
        assert_eq!(fit("模型", 0), "");
    }

    #[test]
    fn f09_the_total_has_the_time_left_by_work() {
        // A quarter of the stages are half of the work.
        let total = Total { ended: 1, stages: 4, done: 50.0, work: 100.0, elapsed: 50.0 };
        assert_eq!(
            layout(80).total(&total).text,
            "[=======>      ]  50 %, 1/4 stages, about 50 s left, 50 s elapsed"
        );
        let slow = Total { elapsed: 100.0, ..total };
        assert!((slow.seconds_left() - 95.5).abs() < 0.1, "half the expected speed");
        let start = Total { ended: 0, done: 0.0, elapsed: 0.0, ..total };
        assert_eq!(start.seconds_left(), 100.0, "the estimate");
        assert_eq!(Total::default().seconds_left(), 0.0);
    }

    #[test]
    fn f09_color_does_not_count_as_width() {
        let total = Total { done: 1.0, work: 1.0, ..Total::default() };
        let plain = layout(80).total(&total);
        let colored = Layout { color: true, ..layout(80) }.total(&total);
        assert_eq!(plain.width, colored.width);
        assert!(colored.text.starts_with("[\x1b[32m==============\x1b[0m]"), "{colored:?}");
        assert!(!plain.text.contains('\x1b'));
    }
}
