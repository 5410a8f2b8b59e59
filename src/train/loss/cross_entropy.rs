//! `cross_entropy`: softmax and negative log-likelihood.

use candle_core::{DType, Device, Result, Tensor};
use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClassWeights, Loss, LossKind, on_device};

/// Softmax cross entropy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CrossEntropySpec {
    /// Weight of each class.
    pub class_weights: ClassWeights,
    /// Label smoothing ε, from 0 to 1: fraction of the target spread uniformly over all classes.
    pub label_smoothing: f64,
}

impl Identity for CrossEntropySpec {}

impl Kind for CrossEntropySpec {
    fn validate(&self, problems: &mut Problems) {
        problems.fraction_below_1("label_smoothing", self.label_smoothing);
    }
}

impl LossKind for CrossEntropySpec {
    fn build(&self, train_counts: &[usize], device: &Device) -> Result<Box<dyn Loss>> {
        let weights = self.class_weights.of_classes(train_counts);
        Ok(Box::new(CrossEntropy::new(&weights, self.label_smoothing, device)?))
    }
}

/// Softmax cross entropy with class weights and label smoothing, like PyTorch's `cross_entropy`.
///
/// With smoothing ε and class weights w over c classes, an image of class y has the loss
/// `−Σ_k w_k · ((1 − ε) · [k = y] + ε / c) · log softmax(z)_k`. The mean is the sum over images divided by the sum of
/// their w_y.
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    /// Row y: the factor of each −log softmax for an image of class y.
    targets: Tensor,
    class_weights: Tensor,
}

impl CrossEntropy {
    /// A cross entropy with one weight per class and label smoothing from 0 to 1.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub fn new(class_weights: &[f64], label_smoothing: f64, device: &Device) -> Result<Self> {
        let classes = class_weights.len();
        let class_weights = on_device(class_weights, device)?;
        let one_hot = Tensor::eye(classes, DType::F32, device)?;
        let smooth = one_hot.affine(1.0 - label_smoothing, label_smoothing / classes as f64)?;
        Ok(Self { targets: smooth.broadcast_mul(&class_weights)?, class_weights })
    }
}

impl Loss for CrossEntropy {
    fn forward(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let log_probabilities = candle_nn::ops::log_softmax(logits, 1)?;
        let sum = (self.targets.index_select(labels, 0)? * log_probabilities)?.sum_all()?;
        sum.neg()? / self.class_weights.index_select(labels, 0)?.sum_all()?
    }
}
