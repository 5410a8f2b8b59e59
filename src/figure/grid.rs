//! A panel per model and data set: models below each other, data sets beside each other.

use chart::{Evaluated, Panel, Picture};
use experiment::figure_spec::predictions::PredictionsSpec;
use indexmap::IndexSet;

use super::Shown;
use super::tidy::{csv, values, without_seed};

/// The predictions that a figure shows.
pub(super) fn selected<'a>(shown: &Shown<'a>, spec: &PredictionsSpec) -> Vec<&'a Evaluated> {
    let PredictionsSpec { from, models, datasets, .. } = spec;
    let has = |names: &[String], name: &String| names.is_empty() || names.contains(name);
    let is_shown = |one: &&Evaluated| {
        from.contains(&one.stage) && has(models, &one.model) && has(datasets, &one.dataset)
    };
    shown.evaluated.iter().filter(is_shown).collect()
}

/// Panels in rows of models and columns of data sets, in the order of their first predictions; gaps where a picture is
/// missing.
pub(super) fn grid(
    all: &[&Evaluated],
    picture: impl Fn(&Evaluated) -> Option<Picture>,
) -> Vec<Vec<Option<Panel>>> {
    let row = |one: &Evaluated| (one.stage.clone(), one.model.clone());
    let column = |one: &Evaluated| (one.dataset.clone(), one.place());
    let rows: IndexSet<_> = all.iter().map(|one| row(one)).collect();
    let columns: IndexSet<_> = all.iter().map(|one| column(one)).collect();
    let panel = |wanted: &(_, _), at: &(_, _)| {
        let one = all.iter().find(|one| row(one) == *wanted && column(one) == *at)?;
        Some(Panel { title: title(one), picture: picture(one)? })
    };
    rows.iter().map(|row| columns.iter().map(|column| panel(row, column)).collect()).collect()
}

fn title(one: &Evaluated) -> String {
    let parts = [one.model.clone(), one.dataset.clone(), one.place()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// A CSV with these columns after stage, model, data set and axes.
pub(super) fn tidy(
    shown: &Shown<'_>,
    all: &[&Evaluated],
    columns: &[&str],
    rows: impl Fn(&Evaluated) -> Vec<Vec<String>>,
) -> String {
    let axes = without_seed(shown.axes);
    let of = |one: &&Evaluated| {
        let place = [one.stage.clone(), one.model.clone(), one.dataset.clone()];
        let place = [place.to_vec(), values(&axes, &one.at)].concat();
        rows(one).into_iter().map(|row| [place.clone(), row].concat()).collect::<Vec<_>>()
    };
    csv(&["stage", "model", "dataset"], &axes, columns, all.iter().flat_map(of))
}
