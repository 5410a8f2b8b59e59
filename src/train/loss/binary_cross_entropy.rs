//! `binary_cross_entropy`: an independent sigmoid per class, one-vs-rest.

use candle_core::{DType, Device, Result, Tensor};
use identity::Identity;
use kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClassWeights, Loss, LossKind, is_soft, on_device};

/// Binary cross entropy with an independent sigmoid per class, one-vs-rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BinaryCrossEntropySpec {
    /// Weight of the positives of each class; `balanced` is negatives / positives.
    pub class_weights: ClassWeights,
}

impl Identity for BinaryCrossEntropySpec {}

impl Kind for BinaryCrossEntropySpec {}

impl LossKind for BinaryCrossEntropySpec {
    fn build(&self, train_counts: &[usize], device: &Device) -> Result<Box<dyn Loss>> {
        Ok(Box::new(BinaryCrossEntropy {
            one_hot: Tensor::eye(train_counts.len(), DType::F32, device)?,
            pos_weight: on_device(&self.class_weights.of_positives(train_counts), device)?,
        }))
    }
}

/// Binary cross entropy on probabilities of the classes, or on one-hot targets.
struct BinaryCrossEntropy {
    /// Target of each class, `[c, c]`.
    one_hot: Tensor,
    /// Weight of the positives of each class, `[c]`.
    pos_weight: Tensor,
}

impl Loss for BinaryCrossEntropy {
    fn forward(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        if is_soft(targets) {
            return binary_cross_entropy(logits, targets, &self.pos_weight);
        }
        binary_cross_entropy(logits, &self.one_hot.index_select(targets, 0)?, &self.pos_weight)
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

/// log(1 + eˣ) without overflow. The larger exponent is factored out as a constant, so that the gradient is the sigmoid
/// at every x; with |x| or a ReLU it would be wrong at 0, the initial logit of new heads.
fn softplus(x: &Tensor) -> Result<Tensor> {
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
