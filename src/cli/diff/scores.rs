//! The scores of two experiments, as means over seeds.

use indexmap::{IndexMap, IndexSet};
use serde::Serialize;

use super::Error;
use crate::collect::collect;
use crate::plan::Plan;
use crate::store::Store;
use crate::table::Score;

/// Metrics of experiments without tables.
const METRICS: [&str; 2] = ["macro_f1", "accuracy"];

/// Scores that both have.
#[derive(Debug, Default, Serialize)]
pub(super) struct Scores {
    /// Number of those that are the same.
    pub(super) same: usize,
    /// Those that differ.
    pub(super) changed: Vec<Pair>,
    /// Ids of `evaluate` stages that the store lacks.
    pub(super) missing: [Vec<String>; 2],
}

/// The two means of a score.
#[derive(Debug, Serialize)]
pub(super) struct Pair {
    pub(super) model: String,
    pub(super) dataset: String,
    /// Axes other than the seed: `target=fundus`; may be empty.
    pub(super) at: String,
    pub(super) metric: String,
    pub(super) a: f64,
    pub(super) b: f64,
    /// Number of seeds of each.
    pub(super) seeds: [usize; 2],
}

/// Model, data set, axes and metric.
type Key = [String; 4];

/// # Errors
/// An entry of the store is damaged.
pub(super) fn diff(plans: [&Plan; 2], store: &Store) -> Result<Scores, Error> {
    let metrics = metrics(plans);
    let [of_a, of_b] = [collect(plans[0], store)?, collect(plans[1], store)?];
    let [a, b] = [means(&of_a.scores, &metrics), means(&of_b.scores, &metrics)];
    let mut scores = Scores { missing: [of_a.missing, of_b.missing], ..Scores::default() };
    for (key, (a, of_a)) in a {
        let Some((b, of_b)) = b.get(&key) else { continue };
        if a.to_bits() == b.to_bits() {
            scores.same += 1;
            continue;
        }
        let [model, dataset, at, metric] = key;
        scores.changed.push(Pair { model, dataset, at, metric, a, b: *b, seeds: [of_a, *of_b] });
    }
    Ok(scores)
}

/// The metrics of all tables.
fn metrics(plans: [&Plan; 2]) -> IndexSet<String> {
    let tables = plans.into_iter().flat_map(|plan| plan.experiment.tables.values());
    let metrics: IndexSet<String> = tables.flat_map(|table| &table.metrics).cloned().collect();
    if metrics.is_empty() { METRICS.iter().map(|metric| (*metric).to_owned()).collect() } else { metrics }
}

/// The mean over seeds and the number of them. A score without a value counts for nothing.
fn means(scores: &[Score], metrics: &IndexSet<String>) -> IndexMap<Key, (f64, usize)> {
    let mut values: IndexMap<Key, Vec<f64>> = IndexMap::new();
    for score in scores.iter().filter(|score| metrics.contains(&score.metric)) {
        values.entry(key(score)).or_default().extend(score.value);
    }
    let mean = |values: &Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    values
        .iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(key, values)| (key.clone(), (mean(values), values.len())))
        .collect()
}

fn key(score: &Score) -> Key {
    let axes = score.axes.iter().filter(|(_, value)| !value.is_empty());
    let at: Vec<String> = axes.map(|(axis, value)| format!("{axis}={value}")).collect();
    [score.model.clone(), score.dataset.clone(), at.join(","), score.metric.clone()]
}
