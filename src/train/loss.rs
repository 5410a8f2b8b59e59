//! Losses, with PyTorch's definitions.

use serde::{Deserialize, Serialize};

/// What is minimised. The kind is the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossSpec {
    /// Softmax and negative log likelihood.
    CrossEntropy(CrossEntropySpec),
    /// A sigmoid for each class, one against the rest.
    BinaryCrossEntropy(BinaryCrossEntropySpec),
}

impl Default for LossSpec {
    fn default() -> Self {
        Self::CrossEntropy(CrossEntropySpec::default())
    }
}

/// Options of the cross entropy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CrossEntropySpec {
    /// Weight of each class.
    pub class_weights: ClassWeights,
    /// Share of the target spread over all classes, 0 to 1.
    pub label_smoothing: f64,
}

/// Options of the binary cross entropy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BinaryCrossEntropySpec {
    /// `balanced` weighs a class's positives by (negatives / positives).
    pub class_weights: ClassWeights,
}

/// Weight of each class in a loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// 1 each.
    #[default]
    None,
    /// n / (classes · count), as scikit-learn's "balanced".
    Balanced,
}
