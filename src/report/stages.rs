//! When stages ran, and for how long.

use maud::{Markup, html};

use super::{Report, Stage, graph};

/// Width of the bars.
const WIDTH: f64 = 420.0;

/// Largest number of stages that are shown at once.
const OPEN: usize = 40;

/// Largest number of missing stages that are named.
const NAMED: usize = 12;

pub(super) fn section(report: &Report) -> Option<Markup> {
    if report.stages.is_empty() {
        return None;
    }
    let missing: Vec<&Stage> = report.stages.iter().filter(|stage| stage.made.is_none()).collect();
    let total: f64 = report.stages.iter().filter_map(|stage| stage.made).map(|(_, seconds)| seconds).sum();
    Some(html! {
        p { (report.stages.len()) " stages, " (duration(total)) " in all." }
        @for (id, message) in &report.failed { p.warning { "Failed: " b { (id) } ": " (message) } }
        @if !missing.is_empty() {
            p.warning { "Not in the store: " (listed(&missing)) }
        }
        (graph::section(&report.stages).unwrap_or_default())
        details open[report.stages.len() <= OPEN] {
            summary { "All stages" }
            div.scroll tabindex="0" { (table(report)) }
        }
    })
}

/// The first ids, and the number of further ones.
fn listed(stages: &[&Stage]) -> String {
    let (shown, more) = stages.split_at(stages.len().min(NAMED));
    let shown: Vec<&str> = shown.iter().map(|stage| stage.id.as_str()).collect();
    match more.len() {
        0 => shown.join(", "),
        more => format!("{}, and {more} more", shown.join(", ")),
    }
}

fn table(report: &Report) -> Markup {
    let times = report.stages.iter().filter_map(|stage| stage.made);
    let start = times.clone().map(|(start, _)| start).min().unwrap_or(0);
    let end = times.map(|(start, seconds)| start as f64 + seconds).fold(0.0, f64::max);
    let has_memory = report.stages.iter().any(|stage| stage.peak_memory.is_some());
    let scale = WIDTH / (end - start as f64).max(1.0);
    html! {
        table.sortable.times {
            thead {
                tr {
                    th scope="col" { "Stage" }
                    th.text scope="col" { "Kind" }
                    th scope="col" { "Seconds" }
                    @if has_memory { th scope="col" { "Peak memory, MB" } }
                    @for name in ["Started", "Inputs", "Fingerprint"] { th.text scope="col" { (name) } }
                }
            }
            tbody {
                @for stage in &report.stages {
                    tr data-text {
                        th scope="row" { (stage.id) }
                        td { (stage.kind) }
                        td.number { (stage.made.map_or("–".to_owned(), |(_, seconds)| format!("{seconds:.1}"))) }
                        @if has_memory { td.number { (stage.peak_memory.map_or("–".to_owned(), megabytes)) } }
                        td { @if let Some((at, seconds)) = stage.made { (bar((at - start) as f64, seconds, scale)) } }
                        td { (stage.inputs.join(", ")) }
                        td { code { (stage.fingerprint.get(..12).unwrap_or_default()) } }
                    }
                }
            }
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0}", bytes as f64 / 1e6)
}

/// Since the first stage: when it started, and how long it took, as a bar. It is a border, which is printed, too.
fn bar(start: f64, seconds: f64, scale: f64) -> Markup {
    let round = |value: f64| (value * 10.0).round() / 10.0;
    let (left, width) = (round(start * scale), round(seconds * scale).max(1.0));
    let style = format!("margin-left:{left}px;border-width:{width}px");
    html! { b role="img" aria-label={ "after " (duration(start)) } style=(style) {} }
}

fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 60.0 => format!("{seconds:.1} s"),
        seconds if seconds < 3600.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_thousand_stages_are_folded_and_small() {
        let stage = |i: u64| Stage {
            id: format!("stage{}[seed={}]", i / 10, i % 10),
            kind: if i < 1000 { "pretrain" } else { "finetune" }.into(),
            fingerprint: "0123456789abcdef".repeat(4),
            inputs: if i < 1000 {
                Vec::new()
            } else {
                vec![format!("stage{}[seed={}]", (i - 1000) / 10, i % 10)]
            },
            made: Some((i, 1.5)),
            peak_memory: Some(123_456_789),
            by: None,
        };
        let report = Report { stages: (0..2000).map(stage).collect(), ..Report::default() };
        let text = section(&report).unwrap().into_string();
        assert!(text.contains("<details><summary>All stages</summary>"), "folded");
        assert!(text.contains("pretrain × 1000") && text.contains("finetune × 1000"), "a graph of kinds");
        assert!(text.len() < 1_500_000, "{}", text.len());
    }
}
