//! Losses, with PyTorch's definitions.

pub mod binary_cross_entropy;
pub mod cross_entropy;

use candle_core::{DType, Device, Result, Tensor, Var, bail};
use kind::{Kind, kinds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use binary_cross_entropy::{BinaryCrossEntropySpec, binary_cross_entropy};
pub use cross_entropy::{CrossEntropy, CrossEntropySpec};

kinds! {
    /// The training loss. The kind is the key.
    pub enum LossSpec: LossKind {
        CrossEntropy(CrossEntropySpec),
        BinaryCrossEntropy(BinaryCrossEntropySpec),
    }
}

impl Default for LossSpec {
    fn default() -> Self {
        Self::CrossEntropy(CrossEntropySpec::default())
    }
}

/// What every kind of loss declares.
pub trait LossKind: Kind {
    /// Builds the loss, given the number of training images of each class.
    ///
    /// # Errors
    /// If the device is out of memory.
    fn build(&self, train_counts: &[usize], device: &Device) -> Result<Box<dyn Loss>>;
}

/// A loss on the device of its logits.
pub trait Loss: Send + Sync {
    /// Mean loss of logits `[n, c]` for labels `[n]` (u32), or for probabilities of the classes `[n, c]`: a scalar,
    /// differentiable in the logits.
    ///
    /// # Errors
    /// If shapes or devices do not match, or a label is not below c.
    fn forward(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor>;

    /// The mean loss and its gradient with respect to the logits.
    ///
    /// # Errors
    /// As [`Loss::forward`].
    fn with_gradient(&self, logits: &Tensor, targets: &Tensor) -> Result<(f64, Tensor)> {
        let logits = Var::from_tensor(logits)?;
        let loss = self.forward(&logits, targets)?;
        let mut gradients = loss.backward()?;
        let Some(gradient) = gradients.remove(&logits) else {
            bail!("the loss does not depend on the logits")
        };
        Ok((loss.to_dtype(DType::F64)?.to_scalar()?, gradient.detach()))
    }
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
    pub fn of_classes(self, counts: &[usize]) -> Vec<f64> {
        let images = counts.iter().sum::<usize>() as f64;
        self.of_counts(counts, |count| images / (counts.len() as f64 * count))
    }

    /// Weight of the positives of each class relative to its negatives.
    pub fn of_positives(self, counts: &[usize]) -> Vec<f64> {
        let images = counts.iter().sum::<usize>() as f64;
        self.of_counts(counts, |count| (images - count) / count)
    }

    /// A class without training images is treated as having one.
    fn of_counts(self, counts: &[usize], balanced: impl Fn(f64) -> f64) -> Vec<f64> {
        let weight = |&count: &usize| match self {
            Self::None => 1.0,
            Self::Balanced => balanced(count.max(1) as f64),
        };
        counts.iter().map(weight).collect()
    }
}

/// Whether targets are probabilities of the classes.
fn is_soft(targets: &Tensor) -> bool {
    targets.rank() == 2
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
        assert_eq!(ClassWeights::Balanced.of_classes(&COUNTS), [0.5, 1.0, 3.0]);
        assert_eq!(ClassWeights::Balanced.of_positives(&COUNTS), [0.5, 2.0, 8.0]);
        assert_eq!(ClassWeights::None.of_classes(&COUNTS), [1.0; 3]);
        assert_eq!(ClassWeights::None.of_positives(&COUNTS), [1.0; 3]);
    }

    #[test]
    fn a_label_beyond_the_classes_is_an_error() {
        let logits = Tensor::zeros((1, 3), DType::F32, &Device::Cpu).unwrap();
        let label = Tensor::new(&[3u32], &Device::Cpu).unwrap();
        for loss in [LossSpec::default(), LossSpec::BinaryCrossEntropy(Default::default())] {
            assert!(loss.build(&COUNTS, &Device::Cpu).unwrap().forward(&logits, &label).is_err());
        }
    }
}
