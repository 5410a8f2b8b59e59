//! The tables, and a forest plot of the differences to the row that a table compares with.

use maud::{Markup, PreEscaped, html};
use table::compare::Comparison;
use table::{Pivot, html};

use super::Report;
use super::chart::range;
use super::ranks;

/// Height of a line of a forest plot.
const LINE: f64 = 20.0;
/// Width of the labels, and of the plot.
const LABELS: f64 = 260.0;
const PLOT: f64 = 420.0;

pub(super) fn section(report: &Report) -> Option<Markup> {
    let is_empty = report.tables.is_empty() && report.figures.is_empty() && report.warnings.is_empty();
    (!is_empty).then(|| {
        html! {
            @for warning in &report.warnings { p.warning { (warning) } }
            @for (name, pivot) in &report.tables { (table(name, pivot)) }
            @for (name, svg) in &report.figures { (figure(name, svg)) }
            @if !report.notes.trim().is_empty() { p.notes { (report.notes.trim()) } }
        }
    })
}

/// The tables of several experiments, each with the address of its page.
pub(super) fn index(reports: &[(&Report, String)]) -> Option<Markup> {
    Some(html! {
        @for (report, address) in reports {
            div data-text=(report.name) {
                h3 { a href=(address) { (report.name) } }
                p { (report.description) }
                @for (name, pivot) in &report.tables { (table(name, pivot)) }
            }
        }
    })
}

fn table(name: &str, pivot: &Pivot) -> Markup {
    html! {
        div.scroll tabindex="0" { (PreEscaped(html::render(name, pivot))) }
        @for column in 0..pivot.columns.len() { (forest(pivot, column)) }
        (ranks::section(pivot))
    }
}

/// An SVG that the figure's own code has drawn.
fn figure(name: &str, svg: &str) -> Markup {
    html! { figure.scroll tabindex="0" { figcaption { (name) } div role="img" aria-label=(name) { (PreEscaped(svg)) } } }
}

/// The differences of a column with their intervals, if it has any.
fn forest(pivot: &Pivot, column: usize) -> Markup {
    let of_column = |found: &&Comparison| found.column == column && found.interval.is_some();
    let found: Vec<&Comparison> = pivot.comparisons.iter().filter(of_column).collect();
    let Some(first) = found.first() else { return html! {} };
    let title = pivot.columns[column].values.join(" / ");
    let to = &pivot.lines[first.to].label;
    html! {
        details {
            summary { (title) ": differences to " (to) }
            div.scroll tabindex="0" { (forest_plot(pivot, &found, &format!("{title}: differences to {to}"))) }
        }
    }
}

fn forest_plot(pivot: &Pivot, found: &[&Comparison], title: &str) -> Markup {
    let ends = found.iter().flat_map(|found| {
        let interval = found.interval.into_iter().flat_map(|interval| [interval.low, interval.high]);
        interval.chain([found.difference, 0.0])
    });
    let (low, high) = range(ends);
    let x = |value: f64| ((LABELS + PLOT * (value - low) / (high - low)) * 10.0).round() / 10.0;
    let height = LINE * (found.len() as f64 + 1.5);
    html! {
        svg role="img" aria-label=(title) viewBox={ "0 0 " (LABELS + PLOT + 180.0) " " (height) }
            width=(LABELS + PLOT + 180.0) height=(height) {
            path.axis d={ "M" (x(0.0)) " 0V" (LINE * found.len() as f64 + 6.0) } {}
            @for (i, comparison) in found.iter().enumerate() {
                (forest_line(pivot, comparison, LINE * (i as f64 + 0.7), x))
            }
            text x=(x(0.0)) y=(height - 6.0) text-anchor="middle" { "0" }
        }
    }
}

fn forest_line(pivot: &Pivot, found: &Comparison, y: f64, x: impl Fn(f64) -> f64) -> Markup {
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
