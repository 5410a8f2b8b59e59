//! Losses, with PyTorch's definitions.

use candle_core::{DType, Device, Result, Tensor, Var, bail};
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

/// A loss for one task, on the device of its logits.
#[derive(Clone, Debug)]
pub enum Loss {
    /// See [`CrossEntropy`].
    CrossEntropy(CrossEntropy),
    /// Binary cross entropy on one-hot targets.
    BinaryCrossEntropy {
        /// The target of each class, `[c, c]`.
        one_hot: Tensor,
        /// Weight of each class's positives, `[c]`.
        pos_weight: Tensor,
    },
}

impl LossSpec {
    /// The loss for training images of these counts, one a class.
    ///
    /// # Errors
    /// When the device has no memory.
    pub fn build(&self, train_counts: &[usize], device: &Device) -> Result<Loss> {
        match self {
            Self::CrossEntropy(spec) => {
                let weights = spec.class_weights.of_classes(train_counts);
                Ok(Loss::CrossEntropy(CrossEntropy::new(&weights, spec.label_smoothing, device)?))
            }
            Self::BinaryCrossEntropy(spec) => Ok(Loss::BinaryCrossEntropy {
                one_hot: Tensor::eye(train_counts.len(), DType::F32, device)?,
                pos_weight: on_device(&spec.class_weights.of_positives(train_counts), device)?,
            }),
        }
    }
}

impl Loss {
    /// The mean loss of logits `[n, c]` against labels `[n]` (u32): a number, differentiable in the logits.
    ///
    /// # Errors
    /// When shapes or devices do not match, or a label is not below c.
    pub fn forward(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        match self {
            Self::CrossEntropy(loss) => loss.forward(logits, labels),
            Self::BinaryCrossEntropy { one_hot, pos_weight } => {
                binary_cross_entropy(logits, &one_hot.index_select(labels, 0)?, pos_weight)
            }
        }
    }

    /// The mean loss and its gradient with respect to the logits.
    ///
    /// # Errors
    /// As [`Loss::forward`].
    pub fn with_gradient(&self, logits: &Tensor, labels: &Tensor) -> Result<(f64, Tensor)> {
        let logits = Var::from_tensor(logits)?;
        let loss = self.forward(&logits, labels)?;
        let mut gradients = loss.backward()?;
        let Some(gradient) = gradients.remove(&logits) else {
            bail!("the loss does not depend on the logits")
        };
        Ok((loss.to_dtype(DType::F64)?.to_scalar()?, gradient.detach()))
    }
}

/// Softmax cross entropy with class weights and label smoothing, as PyTorch's `cross_entropy`.
///
/// With smoothing ε and class weights w over c classes, an image of class y has the loss
/// `−Σ_k w_k · ((1 − ε) · [k = y] + ε / c) · log softmax(z)_k`; the mean divides the sum over images by
/// the sum of their w_y.
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    /// Row y: the factor on each −log softmax of an image of class y.
    targets: Tensor,
    class_weights: Tensor,
}

impl CrossEntropy {
    /// A cross entropy with these weights, one a class, and a smoothing from 0 to 1.
    ///
    /// # Errors
    /// When the device has no memory.
    pub fn new(class_weights: &[f64], label_smoothing: f64, device: &Device) -> Result<Self> {
        let classes = class_weights.len();
        let class_weights = on_device(class_weights, device)?;
        let one_hot = Tensor::eye(classes, DType::F32, device)?;
        let smooth = one_hot.affine(1.0 - label_smoothing, label_smoothing / classes as f64)?;
        Ok(Self { targets: smooth.broadcast_mul(&class_weights)?, class_weights })
    }

    /// As [`Loss::forward`].
    ///
    /// # Errors
    /// As [`Loss::forward`].
    pub fn forward(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let log_probabilities = candle_nn::ops::log_softmax(logits, 1)?;
        let sum = (self.targets.index_select(labels, 0)? * log_probabilities)?.sum_all()?;
        sum.neg()? / self.class_weights.index_select(labels, 0)?.sum_all()?
    }
}

/// The mean over images and classes of the binary cross entropy of sigmoids, as PyTorch's
/// `binary_cross_entropy_with_logits`: logits and targets (0 to 1) `[n, c]`, `pos_weight` `[c]`.
///
/// # Errors
/// When shapes or devices do not match.
pub fn binary_cross_entropy(logits: &Tensor, targets: &Tensor, pos_weight: &Tensor) -> Result<Tensor> {
    let negatives = (targets.affine(-1.0, 1.0)? * logits)?;
    let weight = targets.broadcast_mul(&(pos_weight - 1.0)?)?.affine(1.0, 1.0)?;
    (negatives + (weight * softplus(&logits.neg()?)?)?)?.mean_all()
}

/// log(1 + eˣ) without overflow. The larger exponent is taken out as a constant, so that the gradient
/// is the sigmoid at every x; through |x| or a ReLU it would be wrong at 0, where new heads start.
fn softplus(x: &Tensor) -> Result<Tensor> {
    let largest = x.detach().relu()?;
    let sum = ((x - &largest)?.exp()? + largest.neg()?.exp()?)?;
    sum.log()? + largest
}

impl ClassWeights {
    /// The weight of each class of a softmax.
    fn of_classes(self, counts: &[usize]) -> Vec<f64> {
        let images = counts.iter().sum::<usize>() as f64;
        self.of_counts(counts, |count| images / (counts.len() as f64 * count))
    }

    /// The weight of each class's positives against its negatives.
    fn of_positives(self, counts: &[usize]) -> Vec<f64> {
        let images = counts.iter().sum::<usize>() as f64;
        self.of_counts(counts, |count| (images - count) / count)
    }

    /// A class without training images counts as one of a single image.
    fn of_counts(self, counts: &[usize], balanced: impl Fn(f64) -> f64) -> Vec<f64> {
        let weight = |&count: &usize| match self {
            Self::None => 1.0,
            Self::Balanced => balanced(count.max(1) as f64),
        };
        counts.iter().map(weight).collect()
    }
}

fn on_device(numbers: &[f64], device: &Device) -> Result<Tensor> {
    Tensor::new(numbers, device)?.to_dtype(DType::F32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: [usize; 3] = [6, 3, 0];

    #[test]
    fn balanced_weights_are_those_of_scikit_learn() {
        assert_eq!(ClassWeights::Balanced.of_classes(&COUNTS), [0.5, 1.0, 3.0]);
        assert_eq!(ClassWeights::Balanced.of_positives(&COUNTS), [0.5, 2.0, 8.0]);
        assert_eq!(ClassWeights::None.of_classes(&COUNTS), [1.0; 3]);
        assert_eq!(ClassWeights::None.of_positives(&COUNTS), [1.0; 3]);
    }

    #[test]
    fn the_softplus_is_stable_and_its_gradient_is_the_sigmoid_also_at_zero() {
        let x = [-200f32, -1.0, 0.0, 1.0, 200.0];
        let var = Var::new(&x, &Device::Cpu).unwrap();
        let y = softplus(&var).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(&var).unwrap().to_vec1::<f32>().unwrap();
        for ((x, y), gradient) in x.iter().zip(y.to_vec1::<f32>().unwrap()).zip(gradient) {
            let x = f64::from(*x);
            assert!((f64::from(y) - (x.max(0.0) + (-x.abs()).exp().ln_1p())).abs() < 1e-6);
            assert!((f64::from(gradient) - 1.0 / (1.0 + (-x).exp())).abs() < 1e-6);
        }
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
