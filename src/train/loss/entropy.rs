//! `entropy`: the mean entropy of predictions. It uses no labels.

use candle_core::{Device, Result, Tensor};
use identity::Identity;
use kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::binary_cross_entropy::softplus;
use super::{ClassCounts, Labeling, Loss, LossKind, Targets, differentiated};

/// Mean entropy of the predictions, without labels; for `learn_merge_weights` alone (AdaMerging, arXiv 2310.02575).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EntropySpec {}

impl Identity for EntropySpec {}

impl Kind for EntropySpec {}

impl LossKind for EntropySpec {
    fn suits(&self, _: Labeling) -> bool {
        true
    }

    fn uses_labels(&self) -> bool {
        false
    }

    fn build(&self, _: &ClassCounts, _: &Device) -> Result<Box<dyn Loss>> {
        Ok(Box::new(Entropy))
    }
}

/// The entropy of predictions. Targets only say whether an image has one class or any number of them.
struct Entropy;

impl Loss for Entropy {
    fn with_gradient(&self, logits: &Tensor, targets: &Targets) -> Result<(Tensor, Tensor)> {
        differentiated(self, logits, targets)
    }

    fn forward(&self, logits: &Tensor, targets: &Targets) -> Result<Tensor> {
        match targets {
            Targets::Classes(_) | Targets::Probabilities(_) => entropy(logits),
            Targets::Labels { .. } => binary_entropy(logits),
        }
    }
}

/// Mean over images of the entropy of the softmax of logits `[n, c]`, in nats: `−Σ_k p_k log p_k`.
///
/// # Errors
/// A tensor operation failed.
pub fn entropy(logits: &Tensor) -> Result<Tensor> {
    let log_probabilities = candle_nn::ops::log_softmax(logits, 1)?;
    let of_classes = (log_probabilities.exp()? * log_probabilities)?;
    of_classes.sum_all()?.neg()? / logits.dim(0)? as f64
}

/// Mean over images and classes of the entropy of the sigmoid of logits `[n, c]`, in nats:
/// `−p log p − (1 − p) log(1 − p) = softplus(z) − p z`.
///
/// # Errors
/// A tensor operation failed.
pub fn binary_entropy(logits: &Tensor) -> Result<Tensor> {
    let expected = (candle_nn::ops::sigmoid(logits)? * logits)?;
    (softplus(logits)? - expected)?.mean_all()
}
