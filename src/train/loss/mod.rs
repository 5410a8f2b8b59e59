//! Losses, with PyTorch's definitions.
//!
//! | file | what |
//! |---|---|
//! | [`cross_entropy`](mod@cross_entropy), [`binary_cross_entropy`](mod@binary_cross_entropy) | losses of labels |
//! | [`entropy`] | a loss without labels |
//! | [`distillation`] | the divergence from teachers, for `distill` stages; not a kind of `loss` |

pub mod binary_cross_entropy;
pub mod cross_entropy;
pub mod distillation;
pub mod entropy;

use candle_core::{DType, Device, Result, Tensor, Var, bail};
use dataset::{Labeling, Labels};
use kind::{Kind, kinds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use binary_cross_entropy::{BinaryCrossEntropySpec, binary_cross_entropy};
pub use cross_entropy::{CrossEntropy, CrossEntropySpec};
pub use distillation::Softening;
pub use entropy::EntropySpec;

use super::Targets;

kinds! {
    /// The training loss. The kind is the key.
    pub enum LossSpec: LossKind {
        CrossEntropy(CrossEntropySpec),
        BinaryCrossEntropy(BinaryCrossEntropySpec),
        Entropy(EntropySpec),
    }
}

impl Default for LossSpec {
    fn default() -> Self {
        Self::CrossEntropy(CrossEntropySpec::default())
    }
}

/// What every kind of loss declares.
pub trait LossKind: Kind {
    /// Whether it takes images that are labeled like this.
    fn suits(&self, labeling: Labeling) -> bool;

    /// Whether it compares predictions with labels.
    fn uses_labels(&self) -> bool {
        true
    }

    /// Builds the loss, given the numbers of training images.
    ///
    /// # Errors
    /// If the device is out of memory.
    fn build(&self, counts: &ClassCounts, device: &Device) -> Result<Box<dyn Loss>>;
}

/// Numbers of training images with known labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassCounts {
    /// Images of each class.
    pub positives: Vec<usize>,
    /// Images that are not of each class.
    pub negatives: Vec<usize>,
}

impl ClassCounts {
    /// Those of labels of so many classes.
    pub fn of(labels: &Labels, classes: usize) -> Self {
        let (positives, negatives) = labels.tally(classes);
        Self { positives, negatives }
    }

    /// Those of images with one class each, given the number of images of each class.
    pub fn single_label(counts: &[usize]) -> Self {
        let images: usize = counts.iter().sum();
        let negatives = counts.iter().map(|count| images - count).collect();
        Self { positives: counts.to_vec(), negatives }
    }
}

/// A loss on the device of its logits.
pub trait Loss: Send + Sync {
    /// Mean loss of logits `[n, c]`: a scalar, differentiable in the logits.
    ///
    /// # Errors
    /// If shapes or devices do not match, a label is not below c, or the loss does not suit the labels.
    fn forward(&self, logits: &Tensor, targets: &Targets) -> Result<Tensor>;

    /// The mean loss, a scalar, and its gradient with respect to the logits.
    ///
    /// # Errors
    /// As [`Loss::forward`].
    fn with_gradient(&self, logits: &Tensor, targets: &Targets) -> Result<(Tensor, Tensor)>;

    /// This loss, if a GPU can compute it in a step that is captured once and replayed.
    fn capturable(&self) -> Option<&CrossEntropy> {
        None
    }
}

/// The mean loss and its gradient, by candle.
fn differentiated(loss: &dyn Loss, logits: &Tensor, targets: &Targets) -> Result<(Tensor, Tensor)> {
    gradient_of(logits, |logits| loss.forward(logits, targets))
}

/// A scalar function of logits, and its gradient, by candle.
fn gradient_of(
    logits: &Tensor,
    function: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<(Tensor, Tensor)> {
    let logits = Var::from_tensor(logits)?;
    let loss = function(&logits)?;
    let mut gradients = loss.backward()?;
    let Some(gradient) = gradients.remove(&logits) else { bail!("the loss does not depend on the logits") };
    Ok((loss.detach(), gradient.detach()))
}

/// Class weights of a loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// Weight 1 for each class.
    #[default]
    None,
    /// n / (classes · count), as scikit-learn's "balanced".
    Balanced,
}

impl ClassWeights {
    /// Weight of each class in a softmax.
    pub fn of_classes(self, counts: &ClassCounts) -> Vec<f64> {
        let (images, classes) =
            (counts.positives.iter().sum::<usize>() as f64, counts.positives.len() as f64);
        self.of_counts(counts, |count, _| images / (classes * count))
    }

    /// Weight of the positives of each class relative to its negatives.
    pub fn of_positives(self, counts: &ClassCounts) -> Vec<f64> {
        self.of_counts(counts, |count, images| (images - count) / count)
    }

    /// Weights from the number of images of a class and that of images with a known label. A class without images is
    /// treated as having one.
    fn of_counts(self, counts: &ClassCounts, balanced: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        let weight = |(&count, negatives): (&usize, &usize)| match self {
            Self::None => 1.0,
            Self::Balanced => balanced(count.max(1) as f64, (count + negatives).max(1) as f64),
        };
        counts.positives.iter().zip(&counts.negatives).map(weight).collect()
    }
}

pub(super) fn on_device(numbers: &[f64], device: &Device) -> Result<Tensor> {
    Tensor::new(numbers, device)?.to_dtype(DType::F32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: [usize; 3] = [6, 3, 0];

    #[test]
    fn balanced_weights_agree_with_scikit_learn() {
        let counts = ClassCounts::single_label(&COUNTS);
        assert_eq!(ClassWeights::Balanced.of_classes(&counts), [0.5, 1.0, 3.0]);
        assert_eq!(ClassWeights::Balanced.of_positives(&counts), [0.5, 2.0, 8.0]);
        assert_eq!(ClassWeights::None.of_classes(&counts), [1.0; 3]);
        assert_eq!(ClassWeights::None.of_positives(&counts), [1.0; 3]);
    }

    #[test]
    fn the_weight_of_positives_counts_known_labels() {
        let counts = ClassCounts { positives: vec![2, 4, 0, 0], negatives: vec![6, 1, 3, 0] };
        assert_eq!(ClassWeights::Balanced.of_positives(&counts), [3.0, 0.25, 2.0, 0.0]);
    }

    #[test]
    fn a_label_beyond_the_classes_is_an_error() {
        let logits = Tensor::zeros((1, 3), DType::F32, &Device::Cpu).unwrap();
        let label = Targets::Classes(Tensor::new(&[3u32], &Device::Cpu).unwrap());
        let counts = ClassCounts::single_label(&COUNTS);
        for loss in [LossSpec::default(), LossSpec::BinaryCrossEntropy(Default::default())] {
            assert!(loss.build(&counts, &Device::Cpu).unwrap().forward(&logits, &label).is_err());
        }
    }
}
