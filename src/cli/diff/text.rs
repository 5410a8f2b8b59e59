//! What `medmerge diff` prints.

use std::fmt::Write;

use indexmap::{IndexMap, IndexSet};
use unicode_width::UnicodeWidthStr;

use super::change::Change;
use super::experiments::{self, Changed};
use super::models::{self, Weights};
use super::scores::Scores;

/// The largest number of ids in a list.
const IDS: usize = 6;

/// The largest number of tensors that are named.
const TENSORS: usize = 5;

pub(super) fn of_experiments(found: &experiments::Difference) -> String {
    let mut text = format!("stages: {} the same, {} different", found.same, different(found));
    for (name, only) in found.names.iter().zip(&found.only).filter(|(_, only)| !only.is_empty()) {
        let _ = write!(text, ", {} only in {name}", only.len());
    }
    text.push('\n');
    found.changed.iter().for_each(|changed| group(&mut text, changed));
    if !found.inherited.is_empty() {
        let _ = writeln!(text, "  only what they take from differs: {}", named(&found.inherited));
    }
    for (name, only) in found.names.iter().zip(&found.only).filter(|(_, only)| !only.is_empty()) {
        let _ = writeln!(text, "  only in {name}: {}", named(only));
    }
    if !found.datasets.is_empty() {
        text += "data sets that differ:\n";
        found.datasets.iter().for_each(|changed| group(&mut text, changed));
    }
    text + &scores(&found.scores, &found.names)
}

fn different(found: &experiments::Difference) -> usize {
    found.changed.iter().map(|changed| changed.ids.len()).sum::<usize>() + found.inherited.len()
}

fn group(text: &mut String, Changed { name, ids, changes }: &Changed) {
    let _ =
        writeln!(text, "  {}", if ids.len() > 1 { format!("{name} × {}", ids.len()) } else { ids.concat() });
    changes.iter().for_each(|change| line(text, "    ", change));
}

fn line(text: &mut String, indent: &str, Change { option, a, b }: &Change) {
    let [a, b] = [a, b].map(|value| shown(value.as_deref()));
    let _ = writeln!(text, "{indent}{option}: {a} → {b}");
}

/// Digests are cut to the digits that tell them apart.
fn shown(value: Option<&str>) -> &str {
    match value {
        None => "–",
        Some(digest) if digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit()) => &digest[..12],
        Some(value) => value,
    }
}

/// Names of stages, each with the number of its ids.
fn named(ids: &[String]) -> String {
    let mut counts: IndexMap<&str, usize> = IndexMap::new();
    ids.iter().for_each(|id| *counts.entry(id.split('[').next().unwrap_or(id)).or_default() += 1);
    let name = |id: &String| match id.split('[').next().and_then(|name| Some((name, counts.get(name)?))) {
        Some((name, count)) if *count > 1 => format!("{name} × {count}"),
        _ => id.clone(),
    };
    let names: IndexSet<String> = ids.iter().map(name).collect();
    listed(&names.into_iter().collect::<Vec<_>>())
}

fn listed(ids: &[String]) -> String {
    let (shown, more) = ids.split_at(ids.len().min(IDS));
    let more = if more.is_empty() { String::new() } else { format!(", and {} more", more.len()) };
    shown.join(", ") + &more
}

fn scores(scores: &Scores, names: &[String; 2]) -> String {
    let mut text = String::new();
    for (name, missing) in names.iter().zip(&scores.missing).filter(|(_, missing)| !missing.is_empty()) {
        let _ = writeln!(text, "not in the store, of {name}: {}; medmerge run makes them", named(missing));
    }
    if scores.same + scores.changed.len() > 0 {
        let _ = writeln!(text, "scores: {} the same, {} different", scores.same, scores.changed.len());
    }
    let rows = scores.changed.iter().map(|pair| {
        let seeds = if pair.seeds[0] == pair.seeds[1] {
            String::new()
        } else {
            format!("seeds {} / {}", pair.seeds[0], pair.seeds[1])
        };
        let data =
            if pair.at.is_empty() { pair.dataset.clone() } else { format!("{} [{}]", pair.dataset, pair.at) };
        [
            pair.model.clone(),
            data,
            pair.metric.clone(),
            number(Some(pair.a)),
            number(Some(pair.b)),
            signed(pair.b - pair.a),
            seeds,
        ]
    });
    text + &table(["model", "data set", "metric", "A", "B", "B − A", ""], rows.collect())
}

pub(super) fn of_models(found: &models::Difference) -> String {
    let mut text = match found.is_same {
        Some(true) => "origin: the same\n".to_owned(),
        Some(false) if found.changes.is_empty() => "origin: different, in what is unknown here\n".to_owned(),
        Some(false) => "origin: different\n".to_owned(),
        None => "origin: unknown; no stage of medmerge made one of them\n".to_owned(),
    };
    found.changes.iter().for_each(|change| line(&mut text, "  ", change));
    found.weights.iter().for_each(|found| weights(&mut text, found));
    let rows = found.scores.iter().map(|pair| {
        let change = pair.a.zip(pair.b).map_or_else(String::new, |(a, b)| signed(b - a));
        [
            pair.dataset.clone(),
            pair.split.clone(),
            pair.metric.to_owned(),
            number(pair.a),
            number(pair.b),
            change,
        ]
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        text += "scores in the store:\n";
    }
    text + &table(["data set", "split", "metric", "A", "B", "B − A"], rows)
}

fn weights(text: &mut String, Weights { same, changed, shapes, only: [a, b] }: &Weights) {
    let _ = writeln!(text, "tensors: {same} the same, {} different", changed.len());
    for (name, distance) in changed.iter().take(TENSORS) {
        let _ = writeln!(text, "  {name}: relative difference {distance:.3e}");
    }
    if changed.len() > TENSORS {
        let _ = writeln!(text, "  and {} more with smaller differences", changed.len() - TENSORS);
    }
    for (what, names) in [("of other shapes", shapes), ("only in A", a), ("only in B", b)] {
        if !names.is_empty() {
            let _ = writeln!(text, "  {what}: {}", listed(names));
        }
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"))
}

fn signed(value: f64) -> String {
    format!("{value:+.4}").replace('-', "−")
}

/// Aligned columns, the first ones of words and the others of numbers; nothing without rows.
fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let all: Vec<[String; N]> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
    let widths: [usize; N] = std::array::from_fn(|i| all.iter().map(|row| row[i].width()).max().unwrap_or(0));
    let cell = |i: usize, text: &str| {
        let gap = " ".repeat(widths[i] - text.width());
        if (3..6).contains(&i) { gap + text } else { text.to_owned() + &gap }
    };
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().enumerate().map(|(i, text)| cell(i, text)).collect();
        format!("  {}\n", cells.join("  ").trim_end())
    };
    all.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let row =
            |model: &str, a: &str| [model, "xray", "accuracy", a, "0.5000", "+0.1000"].map(str::to_owned);
        let text = table(
            ["model", "data set", "metric", "A", "B", "B − A"],
            vec![row("a", "0.4"), row("merged", "0.4000")],
        );
        assert_eq!(
            text,
            "  model   data set  metric         A       B    B − A\n  a       xray      accuracy     0.4  0.5000  +0.1000\n  \
             merged  xray      accuracy  0.4000  0.5000  +0.1000\n"
        );
        assert_eq!(table(["a"], Vec::new()), "");
    }

    #[test]
    fn long_lists_and_digests_are_cut() {
        assert_eq!(listed(&vec!["a".to_owned(); 8]), "a, a, a, a, a, a, and 2 more");
        assert_eq!(shown(Some(&"0a".repeat(32))), "0a0a0a0a0a0a");
        let ids = ["a", "b[seed=0]", "c[seed=0]", "c[seed=1]"].map(str::to_owned);
        assert_eq!(named(&ids), "a, b[seed=0], c × 2");
        assert_eq!((shown(None), shown(Some("3"))), ("–", "3"));
    }
}
