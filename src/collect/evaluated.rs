//! Predictions and trainings, as reports and figures draw them.

use indexmap::IndexMap;

use super::{Cell, CollectError, SEED, each_cell, evaluations};
use crate::chart::{Evaluated, Trained};
use crate::experiment::Coordinates;
use crate::metric::Predictions;
use crate::plan::{Plan, PlannedStage};
use crate::stage::Prediction;
use crate::store::Store;

/// The predictions of each model on each data set by the wanted stages, those of all seeds together, with what `first`
/// makes of those of the first seed. Predictions that cannot be scored are left out.
///
/// # Errors
/// An entry of the store is damaged.
pub(super) fn evaluated<T>(
    plan: &Plan,
    store: &Store,
    is_wanted: impl Fn(&PlannedStage) -> bool,
    mut first: impl FnMut(&Cell<'_>, &Prediction, &Predictions) -> T,
) -> Result<Vec<(Evaluated, T)>, CollectError> {
    let mut found: IndexMap<[String; 4], (Evaluated, T)> = IndexMap::new();
    for (stage, spec) in evaluations(plan).into_iter().filter(|(stage, _)| is_wanted(stage)) {
        each_cell(plan, store, stage, spec, |cell, prediction| {
            // Without a score, the tables have warned about them.
            let Ok(predictions) = cell.predictions(prediction) else { return Ok(()) };
            let (one, seed) = cell.evaluated();
            let key = [one.stage.clone(), one.model.clone(), one.dataset.clone(), one.place()];
            let found = found.entry(key).or_insert_with(|| (one, first(cell, prediction, &predictions)));
            found.0.seeds.push((seed, predictions));
            Ok::<_, CollectError>(())
        })?;
    }
    Ok(found.into_values().collect())
}

impl Cell<'_> {
    /// Without predictions; and the seed.
    fn evaluated(&self) -> (Evaluated, String) {
        let mut at = texts(&self.stage.at);
        let seed = at.shift_remove(SEED).unwrap_or_default();
        let evaluated = Evaluated {
            stage: self.stage.name.clone(),
            model: self.model.to_owned(),
            dataset: self.dataset.name.clone(),
            at,
            classes: self.dataset.summary.classes.clone(),
            seeds: Vec::new(),
        };
        (evaluated, seed)
    }
}

/// The epochs of the wanted stages that trained.
///
/// # Errors
/// An entry of the store is damaged.
pub(super) fn trained(
    plan: &Plan,
    store: &Store,
    is_wanted: impl Fn(&PlannedStage) -> bool,
) -> Result<Vec<Trained>, CollectError> {
    let mut trained = Vec::new();
    for stage in plan.stages().filter(|stage| is_wanted(stage)) {
        let Some(manifest) = store.manifest(&stage.fingerprint)? else { continue };
        let epochs = store.history(&manifest)?;
        if !epochs.is_empty() {
            let (name, id) = (stage.name.clone(), stage.id.clone());
            trained.push(Trained { stage: name, id, at: texts(&stage.at), select: select(stage), epochs });
        }
    }
    Ok(trained)
}

/// The metric that selects an epoch; empty if the last one is kept.
fn select(stage: &PlannedStage) -> String {
    let select = stage.fields.iter().find(|field| field.path == "train.select");
    let word = select.map_or("", |field| field.value.trim_matches('"'));
    if word == "none" { String::new() } else { word.to_owned() }
}

fn texts(at: &Coordinates) -> IndexMap<String, String> {
    at.iter().map(|(axis, value)| (axis.clone(), value.to_string())).collect()
}
