//! What stages make: models, merge weights, evaluations.

use candle_core::{Device, Result};
use serde::{Deserialize, Serialize};

use identity::Fingerprint;
use train::EpochRecord;

use super::ModelInfo;

pub use nn::StateDict;

/// The result of a stage.
#[derive(Clone, Debug)]
pub enum Artifact {
    /// A model.
    Model(Checkpoint),
    /// Numbers to merge with.
    MergeWeights(MergeWeights),
    /// Predictions.
    Evaluation(Evaluation),
}

impl Artifact {
    /// The same with its tensors on a device.
    ///
    /// # Errors
    /// The device has no memory.
    pub fn on(&self, device: &Device) -> Result<Self> {
        let tensors = |tensors: &StateDict| -> Result<StateDict> {
            tensors.iter().map(|(name, tensor)| Ok((name.clone(), tensor.to_device(device)?))).collect()
        };
        Ok(match self {
            Self::Model(model) => {
                Self::Model(Checkpoint { tensors: tensors(&model.tensors)?, ..model.clone() })
            }
            Self::MergeWeights(weights) => {
                Self::MergeWeights(MergeWeights { tensors: tensors(&weights.tensors)?, ..weights.clone() })
            }
            Self::Evaluation(evaluation) => Self::Evaluation(evaluation.clone()),
        })
    }
}

/// A model: torchvision / timm names, f32, every buffer of the state_dict.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Architecture, normalisation, head.
    pub info: ModelInfo,
    /// All tensors of the state_dict; `num_batches_tracked` is i64.
    pub tensors: StateDict,
    /// A row an epoch; empty if it was not trained here.
    pub history: Vec<EpochRecord>,
}

/// What `learn_merge_weights` learns.
#[derive(Clone, Debug)]
pub struct MergeWeights {
    /// The merged model that they are for.
    pub info: ModelInfo,
    /// `<layer>.merge_weights` f32 `[sources, kernels]` for each kernel group, and all tensors that are not
    /// merged: the head, running statistics, counts.
    pub tensors: StateDict,
    /// A row an epoch.
    pub history: Vec<EpochRecord>,
}

/// Predictions of every model on every data set of an `evaluate` stage.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// One for each pair of model (or ensemble) and data set.
    pub predictions: Vec<Prediction>,
}

/// Predictions of one model on one data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Fingerprint of the model or ensemble.
    pub model: Fingerprint,
    /// Fingerprint of the data set.
    pub dataset: Fingerprint,
    /// One name an image.
    pub images: Vec<String>,
    /// One label an image.
    pub labels: Vec<u32>,
    /// Probabilities, one row of `classes` numbers an image.
    pub probabilities: Vec<Vec<f32>>,
}
