//! Differences to the row that a table compares with, and their intervals.

use maud::{Markup, html};
use table::Pivot;
use table::compare::Comparison;

use super::axes::{label, range, round, ticks};
use super::picture::Picture;

/// Height of a line.
const LINE: f64 = 20.0;
/// Width of the labels, of the plot, and of the numbers.
const LABELS: f64 = 260.0;
const PLOT: f64 = 420.0;
const NUMBERS: f64 = 180.0;

/// The differences of a column of a table; `None` if it has none with intervals.
pub fn forest(pivot: &Pivot, column: usize) -> Option<Picture> {
    let of_column = |found: &&Comparison| found.column == column && found.interval.is_some();
    let found: Vec<&Comparison> = pivot.comparisons.iter().filter(of_column).collect();
    let to = &pivot.lines[found.first()?.to].label;
    let title = format!("{}: differences to {to}", pivot.columns[column].values.join(" / "));
    let ends = found.iter().flat_map(|found| {
        let interval = found.interval.into_iter().flat_map(|interval| [interval.low, interval.high]);
        interval.chain([found.difference, 0.0])
    });
    let (low, high) = range(ends);
    let x = |value: f64| round(LABELS + PLOT * (value - low) / (high - low));
    let (bottom, height) = (LINE * found.len() as f64 + 6.0, LINE * (found.len() as f64 + 1.5));
    let grid: String =
        ticks((low, high)).into_iter().map(|tick| format!("M{} 0V{bottom}", x(tick))).collect();
    let content = html! {
        g.frame text-anchor="middle" {
            path.grid d=(grid) {}
            @for tick in ticks((low, high)) {
                text x=(x(tick)) y=(height - 6.0) { (label(tick)) }
            }
        }
        path.axis d={ "M" (x(0.0)) " 0V" (bottom) } {}
        @for (i, comparison) in found.iter().enumerate() {
            (line(pivot, comparison, LINE * (i as f64 + 0.7), x))
        }
    };
    Some(Picture { title, width: LABELS + PLOT + NUMBERS, height, content })
}

fn line(pivot: &Pivot, found: &Comparison, y: f64, x: impl Fn(f64) -> f64) -> Markup {
    let Some(interval) = found.interval else { return html! {} };
    let number = |value: f64| format!("{value:+.3}").replace('-', "−");
    html! {
        text x="0" y=(y + 4.0) { (pivot.lines[found.row].label) }
        path.line style="stroke:var(--c0)" d={ "M" (x(interval.low)) " " (y) "H" (x(interval.high)) } {}
        circle cx=(x(found.difference)) cy=(y) r="4" style="fill:var(--c0)" {}
        text x=(LABELS + PLOT + 8.0) y=(y + 4.0) {
            (number(found.difference)) " [" (number(interval.low)) ", " (number(interval.high)) "]"
        }
    }
}
