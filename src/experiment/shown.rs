//! What tables and figures will show, checked against the expanded sweep: each score has a cell of its own, and each
//! axis that is named is one that the stages depend on.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use super::cell::{Clash, Fields, Levels, Place, levels, place};
use super::error::{Diagnostic, Report};
use super::{Experiment, StageInstance, TableSpec};
use stage::StageSpec;

/// A score that an `evaluate` stage will give.
struct Expected<'a> {
    stage: &'a StageInstance,
    axes: &'a IndexMap<&'a str, String>,
    model: &'a str,
    dataset: &'a str,
    split: &'static str,
    metric: &'a str,
}

impl Fields for Expected<'_> {
    fn field(&self, name: &str) -> &str {
        match name {
            "model" => self.model,
            "dataset" => self.dataset,
            "metric" => self.metric,
            "stage" => &self.stage.name,
            "split" => self.split,
            axis => self.axes.get(axis).map_or("", String::as_str),
        }
    }
}

/// Report each table whose scores would share a cell, and each axis that would have no value in a table or figure.
pub(super) fn check(experiment: &Experiment, report: &mut Report) {
    for (name, table) in &experiment.tables {
        let columns = table.columns.iter().map(|column| ("columns", column.as_str()));
        let axes = columns.chain([("rows", table.rows.as_str())]);
        check_axes(experiment, name, &table.from, axes, report);
        if let Some(clash) = clash(experiment, table) {
            let diagnostic = Diagnostic::at(
                experiment.spans[name].clone(),
                format!("table `{name}`: {}", clash.message()),
            );
            report.add(diagnostic.with_help(clash.help()));
        }
    }
    for (name, figure) in &experiment.figures {
        let names = figure.names();
        let axes =
            names.iter().filter(|(_, named, _)| named.is_axis()).map(|(key, _, axis)| (key.as_str(), *axis));
        check_axes(experiment, name, figure.from(), axes, report);
    }
}

/// Report axes that no stage in `from` depends on.
fn check_axes<'a>(
    experiment: &Experiment,
    name: &str,
    from: &[String],
    fields: impl Iterator<Item = (&'a str, &'a str)>,
    report: &mut Report,
) {
    let from: HashSet<&String> = from.iter().collect();
    for (key, axis) in fields.filter(|(_, field)| experiment.axes.contains_key(*field)) {
        let mut stages = experiment.stages.iter().filter(|stage| from.contains(&stage.name));
        if !stages.any(|stage| stage.at.contains_key(axis)) {
            let message =
                format!("`{name}`: `{key}` names the axis `{axis}`, but no stage in `from` depends on it");
            let help = format!(
                "remove `{axis}` from `{key}`, or write `${{{axis}}}` in these stages or their inputs"
            );
            report.add(Diagnostic::at(experiment.spans[name].clone(), message).with_help(help));
        }
    }
}

/// The first two scores that would share a cell.
fn clash(experiment: &Experiment, table: &TableSpec) -> Option<Clash> {
    let from: HashSet<&String> = table.from.iter().collect();
    let stages = experiment.stages.iter().filter(|stage| from.contains(&stage.name));
    let stages: Vec<_> = stages.map(|stage| (stage, texts(stage))).collect();
    let mut cells: HashMap<(Place<'_>, Levels<'_>), &Expected<'_>> = HashMap::new();
    let expected: Vec<Expected<'_>> =
        stages.iter().flat_map(|(stage, axes)| expected(stage, axes, &table.metrics)).collect();
    for score in &expected {
        match cells.entry((place(table, score), levels(table, score))) {
            Entry::Vacant(entry) => drop(entry.insert(score)),
            Entry::Occupied(first) => {
                let axes = experiment.axes.keys().map(String::as_str);
                return Some(Clash::new(table, axes, *first.get(), score));
            }
        }
    }
    None
}

fn texts(stage: &StageInstance) -> IndexMap<&str, String> {
    stage.at.iter().map(|(axis, value)| (axis.as_str(), value.to_string())).collect()
}

/// The scores of a stage. One metric stands for all: that several do not share a cell is checked before.
fn expected<'a>(
    stage: &'a StageInstance,
    axes: &'a IndexMap<&'a str, String>,
    metrics: &'a [String],
) -> Vec<Expected<'a>> {
    let StageSpec::Evaluate(spec) = &stage.spec else { return Vec::new() };
    let split = spec.split.as_str();
    let metric = metrics.first().map_or("", String::as_str);
    let models = spec.models.keys().chain(spec.ensembles.keys());
    let score = |model, dataset| Expected { stage, axes, model, dataset, split, metric };
    let on_each =
        |model: &'a String| spec.datasets.iter().map(move |dataset| score(model.as_str(), dataset.as_str()));
    models.flat_map(on_each).collect()
}
