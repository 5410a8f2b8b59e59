//! What stages make: models, merge weights, evaluations.

use candle_core::{Device, Result};
use serde::{Deserialize, Serialize};

use dataset::Labels;
use identity::Fingerprint;
use train::EpochRecord;

use super::ModelInfo;

pub use nn::StateDict;

/// The result of a stage.
#[derive(Clone, Debug)]
pub enum Artifact {
    /// A model.
    Model(Checkpoint),
    /// Learned merge weights.
    MergeWeights(MergeWeights),
    /// Predictions of models on data sets.
    Evaluation(Evaluation),
}

impl Artifact {
    /// A copy with all tensors on `device`.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
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

/// A model: its `state_dict` in f32, buffers included, under torchvision or timm names.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Architecture, input normalization and head.
    pub info: ModelInfo,
    /// All tensors of the `state_dict`; `num_batches_tracked` is i64.
    pub tensors: StateDict,
    /// One record per epoch; empty for a model that was not trained here.
    pub history: Vec<EpochRecord>,
}

/// The result of a `learn_merge_weights` stage.
#[derive(Clone, Debug)]
pub struct MergeWeights {
    /// The merged model that the merge weights produce.
    pub info: ModelInfo,
    /// `<layer>.merge_weights`, f32 `[sources, kernels]`, for each kernel group, and every tensor that is not merged:
    /// the head, running statistics, batch counts. A common start has no row: its weight is 1. If slices of kernels have
    /// their own, `<tensor>.merge_weights`, `[sources, kernels · inputs]`, are those of a convolution's tensor.
    pub tensors: StateDict,
    /// One record per epoch.
    pub history: Vec<EpochRecord>,
}

/// Predictions of an `evaluate` stage: every model on every data set.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// One for each pair of a model (or ensemble) and a data set.
    pub predictions: Vec<Prediction>,
}

/// Predictions of one model on one data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Fingerprint of the model or ensemble.
    pub model: Fingerprint,
    /// Fingerprint of the data set.
    pub dataset: Fingerprint,
    /// Image names, one per image.
    pub images: Vec<String>,
    /// True labels of the images.
    pub labels: Labels,
    /// Class probabilities, `[images][classes]`; of a multi-label data set, they need not sum to 1.
    pub probabilities: Vec<Vec<f32>>,
}
