//! Confusion matrices, summed over seeds.

use chart::{Evaluated, file};
use experiment::figure_spec::predictions::PredictionsSpec;
use table::number_text;

use super::grid::{grid, selected, tidy};
use super::{Files, Shown};

const COLUMNS: [&str; 4] = ["label", "predicted", "images", "share"];

pub(super) fn files(name: &str, spec: &PredictionsSpec, shown: &Shown<'_>) -> Files {
    let all = selected(shown, spec);
    if all.is_empty() {
        return Files::new();
    }
    let panels = grid(&all, |one| Some(chart::confusion(&one.counts()?, &one.classes)));
    let caption = ["Images of all seeds, and their share of the true class."];
    vec![
        ("svg", file(&shown.title(name), &panels, &[], &caption)),
        ("csv", tidy(shown, &all, &COLUMNS, rows)),
    ]
}

/// A row per pair of classes; none for a multi-label data set.
fn rows(one: &Evaluated) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (label, counts) in one.counts().into_iter().flatten().enumerate() {
        let total: usize = counts.iter().sum();
        for (predicted, count) in counts.into_iter().enumerate() {
            let share = (total > 0).then(|| count as f64 / total as f64);
            let names = [label, predicted].map(|class| one.classes[class].clone());
            rows.push([names.to_vec(), vec![count.to_string(), number_text(share)]].concat());
        }
    }
    rows
}
