//! Reliability diagrams, the images of all seeds together.

use chart::{Evaluated, file};
use experiment::figure_spec::predictions::PredictionsSpec;
use table::number_text;

use super::grid::{grid, selected, tidy};
use super::{Files, Shown};

const COLUMNS: [&str; 5] = ["above", "up_to", "images", "confidence", "accuracy"];

pub(super) fn files(name: &str, spec: &PredictionsSpec, shown: &Shown<'_>) -> Files {
    let all = selected(shown, spec);
    if all.is_empty() {
        return Files::new();
    }
    let panels = grid(&all, |one| Some(chart::reliability(&one.bins()?)));
    let caption =
        ["Bars: accuracy in bins of confidence; dots: at the mean confidence; images of all seeds."];
    vec![
        ("svg", file(&shown.title(name), &panels, &[], &caption)),
        ("csv", tidy(shown, &all, &COLUMNS, rows)),
    ]
}

/// A row per bin; none for a multi-label data set.
fn rows(one: &Evaluated) -> Vec<Vec<String>> {
    let bins = one.bins().unwrap_or_default();
    let edge = |i: usize| number_text(Some(i as f64 / bins.len() as f64));
    let row = |(i, bin): (usize, &metric::calibration::Bin)| {
        let mean = |sum: f64| number_text((bin.images > 0).then(|| sum / bin.images as f64));
        vec![edge(i), edge(i + 1), bin.images.to_string(), mean(bin.confidence), mean(bin.correct as f64)]
    };
    bins.iter().enumerate().map(row).collect()
}
