//! `binary_cross_entropy`: an independent sigmoid per class; the loss of multi-label data sets, or one-vs-rest.

use candle_core::{DType, Device, Result, Tensor};
use identity::Identity;
use kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClassCounts, ClassWeights, Labeling, Loss, LossKind, Targets, differentiated, on_device};

/// Binary cross entropy with an independent sigmoid per class: the loss of multi-label data sets, or one-vs-rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BinaryCrossEntropySpec {
    /// Weight of the positives of each class; `balanced` is negatives / positives, of known labels.
    pub class_weights: ClassWeights,
}

impl Identity for BinaryCrossEntropySpec {}

impl Kind for BinaryCrossEntropySpec {}

impl LossKind for BinaryCrossEntropySpec {
    fn suits(&self, _: Labeling) -> bool {
        true
    }

    fn build(&self, counts: &ClassCounts, device: &Device) -> Result<Box<dyn Loss>> {
        Ok(Box::new(BinaryCrossEntropy {
            one_hot: Tensor::eye(counts.positives.len(), DType::F32, device)?,
            pos_weight: on_device(&self.class_weights.of_positives(counts), device)?,
        }))
    }
}

/// Binary cross entropy on labels, on probabilities of the classes, or on one-hot targets.
struct BinaryCrossEntropy {
    /// Target of each class, `[c, c]`.
    one_hot: Tensor,
    /// Weight of the positives of each class, `[c]`.
    pos_weight: Tensor,
}

impl Loss for BinaryCrossEntropy {
    fn with_gradient(&self, logits: &Tensor, targets: &Targets) -> Result<(Tensor, Tensor)> {
        differentiated(self, logits, targets)
    }

    fn forward(&self, logits: &Tensor, targets: &Targets) -> Result<Tensor> {
        match targets {
            Targets::Classes(classes) => {
                binary_cross_entropy(logits, &self.one_hot.index_select(classes, 0)?, &self.pos_weight)
            }
            Targets::Probabilities(of_classes) => binary_cross_entropy(logits, of_classes, &self.pos_weight),
            Targets::Labels { present, absent } => {
                masked_binary_cross_entropy(logits, (present, absent), &self.pos_weight)
            }
        }
    }
}

/// Mean over images and classes of the binary cross entropy, like PyTorch's `binary_cross_entropy_with_logits`: logits
/// and targets (0 to 1) `[n, c]`, `pos_weight` `[c]`.
///
/// # Errors
/// If shapes or devices do not match.
pub fn binary_cross_entropy(logits: &Tensor, targets: &Tensor, pos_weight: &Tensor) -> Result<Tensor> {
    let negatives = (targets.affine(-1.0, 1.0)? * logits)?;
    let weight = targets.broadcast_mul(&(pos_weight - 1.0)?)?.affine(1.0, 1.0)?;
    (negatives + (weight * softplus(&logits.neg()?)?)?)?.mean_all()
}

/// Mean over known labels of the binary cross entropy, given how much each class of each image counts as present and as
/// absent, `[n, c]`: PyTorch's `binary_cross_entropy_with_logits` with the mask as `weight` and `reduction="sum"`, divided
/// by the sum of the mask. 0 if no label is known.
///
/// # Errors
/// If shapes or devices do not match.
pub fn masked_binary_cross_entropy(
    logits: &Tensor,
    (present, absent): (&Tensor, &Tensor),
    pos_weight: &Tensor,
) -> Result<Tensor> {
    let positives = (present.broadcast_mul(pos_weight)? * softplus(&logits.neg()?)?)?;
    let negatives = (absent * softplus(logits)?)?;
    let known = (present + absent)?.sum_all()?.maximum(f32::MIN_POSITIVE)?;
    (positives + negatives)?.sum_all()? / known
}

/// log(1 + eˣ) without overflow. The larger exponent is factored out as a constant, so that the gradient is the sigmoid
/// at every x; with |x| or a ReLU it would be wrong at 0, the initial logit of new heads.
pub(super) fn softplus(x: &Tensor) -> Result<Tensor> {
    let largest = x.detach().relu()?;
    let sum = ((x - &largest)?.exp()? + largest.neg()?.exp()?)?;
    sum.log()? + largest
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;

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
}
