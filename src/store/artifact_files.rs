//! Encoding artifacts as files, and decoding them. The bytes depend only on the artifact and its provenance, not on the
//! time, stage names or the machine, so equal work gives equal bytes.
//!
//! | artifact | files |
//! |---|---|
//! | model | `model.safetensors`, and `history.csv` if it was trained |
//! | merge weights | `merge_weights.safetensors`, and `history.csv` if they were learned |
//! | evaluation | for each pair, `<model>.<data set>.predictions.csv`: first digits of the fingerprints; an ensemble
//! counts as a model and has [a fingerprint of its own](stage::ensemble::Ensemble::fingerprint) |

use std::collections::HashMap;

use indexmap::IndexMap;

use super::{ContentError, EntryHeader, Provenance, checkpoint, history, predictions};
use identity::Fingerprint;
use nn::StateDict;
use stage::{Artifact, Checkpoint, Evaluation, MergeWeights, ModelInfo, Prediction, ensemble};
use train::EpochRecord;

/// Name of a model's file.
pub(super) const MODEL: &str = "model.safetensors";
const MERGE_WEIGHTS: &str = "merge_weights.safetensors";
/// Names of the files of tensors.
pub(super) const TENSORS: [&str; 2] = [MODEL, MERGE_WEIGHTS];

pub(super) const HISTORY: &str = "history.csv";
const PREDICTIONS: &str = ".predictions.csv";

/// The files of an artifact, name to content, in writing order.
pub(super) fn encode(
    header: &EntryHeader,
    artifact: &Artifact,
) -> Result<IndexMap<String, Vec<u8>>, ContentError> {
    match artifact {
        Artifact::Model(model) => tensors(header, MODEL, &model.info, &model.tensors, &model.history),
        Artifact::MergeWeights(weights) => {
            tensors(header, MERGE_WEIGHTS, &weights.info, &weights.tensors, &weights.history)
        }
        Artifact::Evaluation(evaluation) => tables(header, evaluation),
    }
}

/// Decode the artifact in the files of an entry.
pub(super) fn decode<Bytes: AsRef<[u8]>>(
    header: &EntryHeader,
    files: &IndexMap<String, Bytes>,
) -> Result<Artifact, ContentError> {
    let history = files.get(HISTORY).map(|bytes| history::decode(bytes.as_ref())).transpose()?;
    let history = history.unwrap_or_default();
    if let Some(bytes) = files.get(MODEL) {
        let (info, tensors) = with_provenance(bytes.as_ref())?;
        return Ok(Artifact::Model(Checkpoint { info, tensors, history }));
    }
    if let Some(bytes) = files.get(MERGE_WEIGHTS) {
        let (info, tensors) = with_provenance(bytes.as_ref())?;
        return Ok(Artifact::MergeWeights(MergeWeights { info, tensors, history }));
    }
    let pairs = files.iter().filter_map(|(name, bytes)| Some((name.strip_suffix(PREDICTIONS)?, bytes)));
    let predictions = pairs.map(|(pair, bytes)| table(header, pair, bytes.as_ref()));
    Ok(Artifact::Evaluation(Evaluation { predictions: predictions.collect::<Result<_, _>>()? }))
}

fn tensors(
    header: &EntryHeader,
    name: &str,
    info: &ModelInfo,
    tensors: &StateDict,
    history: &[EpochRecord],
) -> Result<IndexMap<String, Vec<u8>>, ContentError> {
    let provenance = Provenance::new(header, info);
    let metadata = HashMap::from([(checkpoint::KEY.to_string(), serde_json::to_string(&provenance)?)]);
    let mut files = IndexMap::from([(name.to_string(), checkpoint::encode(tensors, metadata)?)]);
    if !history.is_empty() {
        files.insert(HISTORY.to_string(), history::encode(history)?);
    }
    Ok(files)
}

fn with_provenance(bytes: &[u8]) -> Result<(ModelInfo, StateDict), ContentError> {
    let (tensors, metadata) = checkpoint::decode(bytes)?;
    let missing = || ContentError::Malformed(format!("its metadata lacks the key `{}`", checkpoint::KEY));
    let provenance: Provenance = serde_json::from_str(metadata.get(checkpoint::KEY).ok_or_else(missing)?)?;
    Ok((provenance.info, tensors))
}

fn tables(header: &EntryHeader, evaluation: &Evaluation) -> Result<IndexMap<String, Vec<u8>>, ContentError> {
    let mut files = IndexMap::new();
    for prediction in &evaluation.predictions {
        let pair = format!("{}.{}", prediction.model.short(), prediction.dataset.short());
        if whole_names(header, &pair)? != (prediction.model, prediction.dataset) {
            let problem =
                format!("predictions `{pair}` do not belong to a model and a data set of the stage");
            return Err(ContentError::Malformed(problem));
        }
        files.insert(pair + PREDICTIONS, predictions::encode(prediction)?);
    }
    Ok(files)
}

fn table(header: &EntryHeader, pair: &str, bytes: &[u8]) -> Result<Prediction, ContentError> {
    let (model, dataset) = whole_names(header, pair)?;
    predictions::decode(bytes, model, dataset)
}

/// The fingerprints of the input (or ensemble of inputs) and the data set whose first digits are in a file's name.
fn whole_names(header: &EntryHeader, pair: &str) -> Result<(Fingerprint, Fingerprint), ContentError> {
    let (model, dataset) = pair.split_once('.').unwrap_or((pair, ""));
    let inputs = header.inputs.iter().map(|(role, fingerprint)| (role, *fingerprint));
    let ensembles = ensemble::among(inputs.clone()).into_iter().map(|ensemble| ensemble.fingerprint);
    let mut models = inputs.map(|(_, fingerprint)| fingerprint).chain(ensembles);
    let input = models.find(|fingerprint| fingerprint.short() == model);
    let mut datasets = header.datasets.iter().map(|(_, fingerprint)| *fingerprint);
    let data = datasets.find(|fingerprint| fingerprint.short() == dataset);
    let unknown =
        || ContentError::Malformed(format!("predictions `{pair}` do not belong to an input of the stage"));
    input.zip(data).ok_or_else(unknown)
}
