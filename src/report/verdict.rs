//! The tables, and a forest plot of the differences to the row that a table compares with.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use maud::{Markup, PreEscaped, html};
use table::{Pivot, html};

use super::Report;
use super::ranks;

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

/// An SVG file, whose style stays its own.
fn figure(name: &str, svg: &str) -> Markup {
    let address = format!("data:image/svg+xml;base64,{}", BASE64_STANDARD.encode(svg));
    html! { figure.scroll tabindex="0" { figcaption { (name) } img alt={ "Figure " (name) } src=(address) {} } }
}

/// The differences of a column with their intervals, if it has any.
fn forest(pivot: &Pivot, column: usize) -> Markup {
    let Some(picture) = chart::forest(pivot, column) else { return html! {} };
    html! {
        details {
            summary { (picture.title) }
            div.scroll tabindex="0" { (picture.svg()) }
        }
    }
}
