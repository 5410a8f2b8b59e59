//! Text of cells and headers, and widths, shared by the renderings.

use unicode_width::UnicodeWidthStr;

use super::compare::Difference;
use super::pivot::{Cell, Column, Line, Mark};
use super::{Pivot, TableSpec};
use statistics::Interval;

/// Text of an empty cell.
pub(super) const NOTHING: &str = "–";

/// Header of the column of mean ranks.
pub(super) const RANK: &str = "rank";

/// Text below an empty table.
pub(super) const NO_SCORES: &str = "No scores: no stage that the table takes from has finished.";

/// A table as text: a header, then rows; the first column contains the labels.
pub(super) struct Grid {
    pub(super) header: Vec<String>,
    pub(super) lines: Vec<Vec<String>>,
}

impl Grid {
    /// The grid of a pivot. `decorate` marks a cell's text, given its significant difference; `escape` is applied
    /// to labels.
    pub(super) fn new(
        pivot: &Pivot,
        escape: impl Fn(&str) -> String,
        decorate: impl Fn(String, Mark, Option<Difference>) -> String,
    ) -> Self {
        let most = most(pivot);
        let marks: Vec<Vec<Mark>> = (0..pivot.columns.len()).map(|column| pivot.marks(column)).collect();
        let columns = pivot.columns.iter().map(|column| escape(&title(column)));
        let line = |(i, line): (usize, &Line)| {
            let cell = |(cell, marks): (&Cell, &Vec<Mark>)| {
                decorate(cell_text(cell, most, &pivot.spec), marks[i], cell.differs)
            };
            let cells = line.cells.iter().zip(&marks).map(cell);
            let rank = pivot.spec.rank.then(|| rank_text(line));
            std::iter::once(escape(&label(&line.label))).chain(cells).chain(rank).collect()
        };
        let rank = pivot.spec.rank.then(|| RANK.to_owned());
        Self {
            header: std::iter::once(escape(&pivot.spec.rows)).chain(columns).chain(rank).collect(),
            lines: pivot.lines.iter().enumerate().map(line).collect(),
        }
    }

    /// Width of each column on a terminal.
    pub(super) fn widths(&self) -> Vec<usize> {
        let rows = || std::iter::once(&self.header).chain(&self.lines);
        (0..self.header.len()).map(|i| rows().map(|row| row[i].width()).max().unwrap_or(0)).collect()
    }
}

/// `1 cell`, `2 cells`.
pub(super) fn counted(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

/// Pad a text to a width: labels (column 0) are left-aligned, numbers right-aligned.
pub(super) fn pad(column: usize, text: &str, width: usize) -> String {
    let blanks = " ".repeat(width.saturating_sub(text.width()));
    if column == 0 { format!("{text}{blanks}") } else { format!("{blanks}{text}") }
}

/// Whether any column has a best.
pub(super) fn has_marks(pivot: &Pivot) -> bool {
    (0..pivot.columns.len()).any(|column| pivot.marks(column).contains(&Mark::Best))
}

/// The maximum number of scores in a cell.
pub(super) fn most(pivot: &Pivot) -> usize {
    pivot.lines.iter().flat_map(|line| &line.cells).map(|cell| cell.n).max().unwrap_or(0)
}

/// Header of the only column of a table without `columns`.
pub(super) const MEAN: &str = "mean";

fn title(column: &Column) -> String {
    if column.values.is_empty() {
        return MEAN.to_owned();
    }
    column.values.iter().map(|value| label(value)).collect::<Vec<_>>().join(" / ")
}

/// A label on one line, visible even where an axis does not apply.
pub(super) fn label(text: &str) -> String {
    if text.trim().is_empty() {
        return NOTHING.to_owned();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// An interval takes precedence over the standard deviation. The number of scores is shown if other cells have more.
fn cell_text(cell: &Cell, most: usize, spec: &TableSpec) -> String {
    let Some(mean) = cell.mean else { return NOTHING.to_owned() };
    let number = |value| number(value, spec);
    let std = || cell.std.map_or_else(String::new, |std| format!(" ± {}", number(std)));
    let interval = |Interval { low, high }| format!(" [{}, {}]", number(low), number(high));
    let spread = cell.interval.map_or_else(std, interval);
    let n = if cell.n < most { format!(" (n = {})", cell.n) } else { String::new() };
    format!("{}{spread}{n}", number(mean))
}

/// A score in the digits of the spec.
fn number(value: f64, spec: &TableSpec) -> String {
    let value = if spec.percent { 100.0 * value } else { value };
    let text = format!("{value:.*}", spec.digits);
    match text.trim_start_matches('-').starts_with("0.") && spec.compact {
        true => text.replacen("0.", ".", 1),
        false => text,
    }
}

fn rank_text(line: &Line) -> String {
    line.rank.map_or_else(|| NOTHING.to_owned(), |rank| format!("{rank:.2}"))
}
