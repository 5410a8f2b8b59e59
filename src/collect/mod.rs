//! From the store to what tables and figures show.
//!
//! | file | what |
//! |---|---|
//! | this one | predictions to scores |
//! | `steps` | how long the models behind scores were trained |
//! | `groups` | the groups of the images that tables resample |
//! | [`named`] | predictions as files with readable names |
//! | [`weights`] | learned merge weights, for figures |
//! | [`thumbnails`] | the images of which a model is most confidently wrong, for reports |
//! | `evaluated` | predictions and trainings, as reports and figures draw them |
//! | [`figures`] | the files of figures |
//! | [`report`] | everything that a report shows beside tables and figures |
//!
//! Scores are computed each time: that is cheap, and a new metric needs no stage to run again.

mod evaluated;
pub mod figures;
mod groups;
pub mod named;
pub mod report;
mod steps;
pub mod thumbnails;
pub mod weights;

use std::collections::HashMap;
use std::sync::Arc;

use crate::identity::Fingerprint;
use indexmap::IndexMap;
use rayon::prelude::*;

use self::groups::GroupsOfDatasets;
use self::steps::Trained;
use crate::dataset::DataError;
use crate::experiment::{Coordinates, Experiment};
use crate::metric::{MetricError, NAMES, Predictions, scores};
use crate::plan::{Plan, PlannedDataset, PlannedStage};
use crate::stage::evaluate::EvaluateSpec;
use crate::stage::{Artifact, Prediction, StageSpec, ensemble};
use crate::store::{Store, StoreError};
use crate::table::{Predicted, Score};

/// The axis with its own column in `metrics.csv`.
pub const SEED: &str = "seed";

/// The scores of an experiment.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// In the order of the plan, then of models, data sets and metrics.
    pub scores: Vec<Score>,
    /// Ids of `evaluate` stages missing from the store.
    pub missing: Vec<String>,
    /// Predictions that cannot be scored; their scores have no value.
    pub unscored: Vec<Unscored>,
}

/// Predictions of a model for a data set that cannot be scored.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("failed to score the predictions of {stage} for the model {model:?} on {dataset:?}: {source}")]
pub struct Unscored {
    /// The stage's id.
    pub stage: String,
    /// Row label of the model or ensemble.
    pub model: String,
    /// Name of the data set.
    pub dataset: String,
    /// The cause.
    pub source: MetricError,
}

/// Why results cannot be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Merge weights that do not fit the model.
    #[error("failed to read the merge weights of {stage}: {source}")]
    Weights {
        /// The stage's id.
        stage: String,
        /// The cause.
        source: candle_core::Error,
    },
    /// The groups of a data set's images cannot be read.
    #[error(
        "failed to read which images of {dataset:?} are of one group, for a table that resamples groups: {source}"
    )]
    Groups {
        /// Name of the data set.
        dataset: String,
        /// The cause.
        source: DataError,
    },
    /// An entry that lacks the predictions.
    #[error(
        "failed to find the predictions of {stage} for the model {model:?} on {dataset:?} in the store; \
         make them again with: medmerge run {} --rerun '{stage}'",
        file.display()
    )]
    NoPrediction {
        /// The experiment's file.
        file: std::path::PathBuf,
        /// The stage's id.
        stage: String,
        /// Row label of the model or ensemble.
        model: String,
        /// Name of the data set.
        dataset: String,
    },
}

/// The scores of every `evaluate` stage in the store. Cells whose predictions cannot be scored are empty.
///
/// # Errors
/// An entry of the store is damaged, or a data set whose images a table resamples by group cannot be read.
pub fn collect(plan: &Plan, store: &Store) -> Result<Collected, CollectError> {
    let groups = GroupsOfDatasets::read(plan)?;
    let trained = Trained::new(plan, store);
    let scored: Vec<_> = evaluations(plan)
        .into_par_iter()
        .map(|(stage, spec)| Ok((stage, scores_of(plan, store, stage, spec, &groups, &trained)?)))
        .collect::<Result<_, CollectError>>()?;
    let mut collected = Collected::default();
    for (stage, scores) in scored {
        match scores {
            Some(cells) => cells.into_iter().for_each(|cell| collected.add(cell)),
            None => collected.missing.push(stage.id.clone()),
        }
    }
    Ok(collected)
}

/// Every `evaluate` stage.
pub(crate) fn evaluations(plan: &Plan) -> Vec<(&PlannedStage, &EvaluateSpec)> {
    plan.stages().filter_map(|stage| Some((stage, evaluate_spec(stage)?))).collect()
}

impl Collected {
    fn add(&mut self, (scores, unscored): Scored) {
        self.scores.extend(scores);
        self.unscored.extend(unscored);
    }
}

/// The scores of a model on a data set, and why they have no values, if so.
type Scored = (Vec<Score>, Option<Unscored>);

fn evaluate_spec(stage: &PlannedStage) -> Option<&EvaluateSpec> {
    match stage.spec.as_ref() {
        StageSpec::Evaluate(spec) => Some(spec),
        _ => None,
    }
}

/// `None` if the store lacks the entry.
fn scores_of(
    plan: &Plan,
    store: &Store,
    stage: &PlannedStage,
    spec: &EvaluateSpec,
    groups: &GroupsOfDatasets,
    trained: &Trained<'_>,
) -> Result<Option<Vec<Scored>>, CollectError> {
    let mut scores = Vec::new();
    let found = each_cell(plan, store, stage, spec, |cell, prediction| {
        let groups = groups.of(cell.dataset, spec.split, &prediction.images);
        let (mut of_cell, unscored) = cell.scores(prediction, groups.as_deref());
        let steps = trained.on(cell.dataset, stage, prediction.model)?;
        for score in &mut of_cell {
            score.steps = steps;
            score.model_fingerprint = Some(prediction.model.to_string());
        }
        scores.push((of_cell, unscored));
        Ok::<_, CollectError>(())
    })?;
    Ok(found.then_some(scores))
}

/// Visit the predictions of each row and data set of a stage. Returns `false` if the store lacks the entry.
pub(crate) fn each_cell<E: From<CollectError>>(
    plan: &Plan,
    store: &Store,
    stage: &PlannedStage,
    spec: &EvaluateSpec,
    mut visit: impl FnMut(&Cell<'_>, &Prediction) -> Result<(), E>,
) -> Result<bool, E> {
    let Some(predictions) = predictions(store, stage)? else { return Ok(false) };
    let predictions: HashMap<_, _> = predictions.iter().map(|p| ((p.model, p.dataset), p)).collect();
    let keep = keeps_predictions(&plan.experiment, &stage.name);
    for (model, fingerprint) in &rows(plan, stage, spec) {
        for (_, dataset) in &stage.datasets {
            let cell = Cell { experiment: &plan.experiment, stage, spec, model, dataset, keep };
            let found = predictions.get(&(*fingerprint, dataset.fingerprint));
            visit(&cell, found.ok_or_else(|| cell.no_prediction())?)?;
        }
    }
    Ok(true)
}

/// `None` if the store lacks the entry.
fn predictions(store: &Store, stage: &PlannedStage) -> Result<Option<Vec<Prediction>>, CollectError> {
    if store.manifest(&stage.fingerprint)?.is_none() {
        return Ok(None);
    }
    Ok(Some(match store.get(&stage.fingerprint)? {
        Artifact::Evaluation(evaluation) => evaluation.predictions,
        _ => Vec::new(),
    }))
}

/// Whether a table resamples the images of a stage.
fn keeps_predictions(experiment: &Experiment, stage: &str) -> bool {
    experiment
        .tables
        .values()
        .any(|table| table.draws_images() && table.from.iter().any(|from| from == stage))
}

/// Labels and fingerprints: models, then ensembles, in the order of the file.
fn rows<'a>(plan: &Plan, stage: &'a PlannedStage, spec: &'a EvaluateSpec) -> Vec<(&'a str, Fingerprint)> {
    let inputs = stage.inputs.iter().map(|(input, node)| (&input.role, plan.stage(*node).fingerprint));
    let models = spec.models.keys().zip(inputs.clone().map(|(_, fingerprint)| fingerprint));
    let ensembles = ensemble::among(inputs);
    let ensembles = spec.ensembles.keys().zip(ensembles.into_iter().map(|ensemble| ensemble.fingerprint));
    models.chain(ensembles).map(|(label, fingerprint)| (label.as_str(), fingerprint)).collect()
}

/// One model or ensemble on one data set.
pub(crate) struct Cell<'a> {
    experiment: &'a Experiment,
    pub(crate) stage: &'a PlannedStage,
    pub(crate) spec: &'a EvaluateSpec,
    /// Its row label.
    pub(crate) model: &'a str,
    pub(crate) dataset: &'a PlannedDataset,
    /// Whether scores come with the predictions behind them.
    keep: bool,
}

impl Cell<'_> {
    /// One score per metric.
    fn scores(&self, prediction: &Prediction, groups: Option<&[Option<String>]>) -> Scored {
        let Prediction { images, labels, .. } = prediction;
        match self.predictions(prediction) {
            Ok(predictions) => {
                let values = scores(&predictions);
                let predicted = self.keep.then(|| Predicted::new(images, labels, predictions));
                let predicted = predicted.map(|predicted| match groups {
                    Some(groups) => predicted.in_groups(groups),
                    None => predicted,
                });
                (self.of_values(values, labels.len(), predicted.map(Arc::new)), None)
            }
            Err(source) => {
                let without = |metric: &&str| self.score(metric, None, labels.len());
                (NAMES.iter().map(without).collect(), Some(self.unscored(source)))
            }
        }
    }

    /// The values of metrics as scores with the predictions behind them.
    fn of_values(
        &self,
        values: IndexMap<&str, Option<f64>>,
        n: usize,
        predicted: Option<Arc<Predicted>>,
    ) -> Vec<Score> {
        let score = |(metric, value)| Score { predicted: predicted.clone(), ..self.score(metric, value, n) };
        values.into_iter().map(score).collect()
    }

    fn unscored(&self, source: MetricError) -> Unscored {
        Unscored {
            stage: self.stage.id.clone(),
            model: self.model.to_owned(),
            dataset: self.dataset.name.clone(),
            source,
        }
    }

    /// Validated predictions.
    pub(crate) fn predictions(&self, prediction: &Prediction) -> Result<Predictions, MetricError> {
        let Prediction { labels, probabilities, .. } = prediction;
        Predictions::of(labels, probabilities, self.dataset.summary.classes.len())
    }

    fn score(&self, metric: &str, value: Option<f64>, n: usize) -> Score {
        let at = &self.stage.at;
        Score {
            experiment: self.experiment.name.clone(),
            stage: self.stage.name.clone(),
            model: self.model.to_owned(),
            dataset: self.dataset.name.clone(),
            split: self.spec.split.as_str().to_owned(),
            seed: axis(at, SEED),
            axes: self.other_axes().map(|name| (name.clone(), axis(at, name))).collect::<IndexMap<_, _>>(),
            metric: metric.to_owned(),
            value,
            n,
            predicted: None,
            caveats: self.dataset.summary.caveats.clone().into(),
            steps: None,
            model_fingerprint: None,
        }
    }

    fn other_axes(&self) -> impl Iterator<Item = &String> {
        self.experiment.axes.keys().filter(|name| *name != SEED)
    }

    fn no_prediction(&self) -> CollectError {
        CollectError::NoPrediction {
            file: self.experiment.source.path.clone(),
            stage: self.stage.id.clone(),
            model: self.model.to_owned(),
            dataset: self.dataset.name.clone(),
        }
    }
}

/// The value of an axis in result tables; empty if the stage does not depend on it.
fn axis(at: &Coordinates, name: &str) -> String {
    at.get(name).map(ToString::to_string).unwrap_or_default()
}
