//! Precision-recall curves of each class against the rest.

use chart::{Evaluated, file};
use experiment::figure_spec::precision_recall::PrecisionRecallSpec;
use metric::curves;
use table::number_text;

use super::grid::{classes, grid, selected, tidy};
use super::{Files, Shown};

const COLUMNS: [&str; 4] = ["seed", "class", "recall", "precision"];

pub(super) fn files(name: &str, spec: &PrecisionRecallSpec, shown: &Shown<'_>) -> Files {
    let all = selected(shown, &spec.from, &spec.models, &spec.datasets);
    if all.is_empty() {
        return Files::new();
    }
    let panels =
        grid(&all, |one| Some(chart::precision_recall(one.seeds.iter().map(|(_, predictions)| predictions))));
    let caption = ["Each class against the rest; one line per seed."];
    let svg = file(&shown.title(name), &panels, &classes(&all), &caption);
    vec![("svg", svg), ("csv", tidy(shown, &all, &COLUMNS, rows))]
}

/// The points of each curve; none for a class without a curve.
fn rows(one: &Evaluated) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (seed, predictions) in &one.seeds {
        for (class, ranking) in one.classes.iter().zip(predictions.rankings()) {
            for point in curves::precision_recall(ranking).into_iter().flatten() {
                let numbers = point.map(|number| number_text(Some(number)));
                rows.push([vec![seed.clone(), class.clone()], numbers.to_vec()].concat());
            }
        }
    }
    rows
}
