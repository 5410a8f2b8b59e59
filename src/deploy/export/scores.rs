//! Scores of a model in a store.

use std::collections::HashSet;

use crate::error::Error;
use crate::identity::Fingerprint;
use crate::metric::{METRICS, Predictions};
use crate::stage::{Artifact, Prediction};
use crate::store::{Manifest, Store};

/// Metrics in a model card.
const SHOWN: [&str; 4] = ["accuracy", "balanced_accuracy", "macro_f1", "auroc"];

/// Scores of a model on a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Name of the data set when it was evaluated.
    pub dataset: String,
    /// Name of the split.
    pub split: String,
    /// Number of images.
    pub images: usize,
    /// Title and value of each metric; `None` if undefined.
    pub values: Vec<(&'static str, Option<f64>)>,
}

/// Scores of a model by all `evaluate` entries of a store, each data set and split once.
///
/// # Errors
/// The store cannot be read.
pub fn scores(store: &Store, model: &Fingerprint) -> Result<Vec<Scored>, Error> {
    let (mut scored, mut seen) = (Vec::new(), HashSet::new());
    for fingerprint in store.fingerprints()? {
        let Some(manifest) = store.manifest(&fingerprint)? else { continue };
        let evaluates = manifest.header.kind == "evaluate";
        if !evaluates || !manifest.header.inputs.iter().any(|(_, input)| input == model) {
            continue;
        }
        let Artifact::Evaluation(evaluation) = store.get(&fingerprint)? else { continue };
        let split = split(&manifest);
        let own = evaluation.predictions.iter().filter(|prediction| prediction.model == *model);
        let new = own.filter(|prediction| seen.insert((prediction.dataset, split.clone())));
        scored.extend(new.filter_map(|prediction| of_prediction(&manifest, prediction, &split)));
    }
    Ok(scored)
}

fn split(manifest: &Manifest) -> String {
    let field = manifest.header.fields.iter().find(|field| field.path == "split");
    field.map_or("test", |field| field.value.trim_matches('"')).to_owned()
}

/// `None` for predictions that cannot be scored.
fn of_prediction(manifest: &Manifest, prediction: &Prediction, split: &str) -> Option<Scored> {
    let Prediction { dataset, labels, probabilities, .. } = prediction;
    let predictions = Predictions::of(labels, probabilities, probabilities.first()?.len()).ok()?;
    let header = &manifest.header;
    let position = header.datasets.iter().position(|(_, other)| other == dataset)?;
    let name = header.dataset_names.get(position).cloned().unwrap_or_else(|| dataset.short());
    let metrics =
        METRICS.iter().filter(|metric| SHOWN.contains(&metric.name) && metric.suits(labels.labeling()));
    let values = metrics.map(|metric| (metric.title, metric.score(&predictions))).collect();
    Some(Scored { dataset: name, split: split.to_owned(), images: labels.len(), values })
}
