//! `cross_entropy`: softmax and negative log-likelihood.

use candle_core::{DType, Device, Result, Tensor, bail};
use identity::Identity;
use kind::{Kind, Problems};
use nn::cuda;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClassCounts, ClassWeights, Labeling, Loss, LossKind, Targets, differentiated, on_device};

/// Softmax cross entropy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CrossEntropySpec {
    /// Weight of each class.
    pub class_weights: ClassWeights,
    /// Label smoothing ε, from 0 to below 1: fraction of the target spread uniformly over all classes.
    pub label_smoothing: f64,
}

impl Identity for CrossEntropySpec {}

impl Kind for CrossEntropySpec {
    fn validate(&self, problems: &mut Problems) {
        problems.fraction_below_1("label_smoothing", self.label_smoothing);
    }
}

impl LossKind for CrossEntropySpec {
    fn suits(&self, labeling: Labeling) -> bool {
        labeling.is_single_label()
    }

    fn build(&self, counts: &ClassCounts, device: &Device) -> Result<Box<dyn Loss>> {
        let weights = self.class_weights.of_classes(counts);
        Ok(Box::new(CrossEntropy::new(&weights, self.label_smoothing, device)?))
    }
}

/// Softmax cross entropy with class weights and label smoothing, like PyTorch's `cross_entropy`.
///
/// With smoothing ε and class weights w over c classes, an image of class y has the loss
/// `−Σ_k w_k · ((1 − ε) · [k = y] + ε / c) · log softmax(z)_k`. The mean is the sum over images divided by the sum of
/// their w_y. Targets that are probabilities take the place of `[k = y]`, and the sum is divided by the number of images.
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    /// Row y: the factor of each −log softmax for an image of class y.
    targets: Tensor,
    class_weights: Tensor,
    label_smoothing: f64,
}

impl CrossEntropy {
    /// A cross entropy with one weight per class and label smoothing from 0 to 1.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub fn new(class_weights: &[f64], label_smoothing: f64, device: &Device) -> Result<Self> {
        let one_hot = Tensor::eye(class_weights.len(), DType::F32, device)?;
        let class_weights = on_device(class_weights, device)?;
        let loss = Self { targets: one_hot, class_weights, label_smoothing };
        Ok(Self { targets: loss.factors(&loss.targets)?, ..loss })
    }

    /// The mean loss of images of these classes, a scalar, and its gradient with respect to the logits: on a GPU, which
    /// is not waited for.
    ///
    /// # Errors
    /// If a launch failed.
    pub fn launch(&self, logits: &Tensor, classes: &Tensor) -> Result<(Tensor, Tensor)> {
        let [factors, weights] = self.tensors().map(|tensor| cuda::cast(&tensor, logits.dtype()));
        cuda::cross_entropy(logits, classes, &factors?, &weights?)
    }

    /// All tensors that [`launch`](Self::launch) reads beside its arguments.
    pub fn tensors(&self) -> [Tensor; 2] {
        [self.targets.clone(), self.class_weights.clone()]
    }

    /// The factor of each −log softmax for images with these probabilities of the classes, `[n, c]`.
    fn factors(&self, probabilities: &Tensor) -> Result<Tensor> {
        let (smoothing, classes) = (self.label_smoothing, probabilities.dim(1)?);
        let smooth = probabilities.affine(1.0 - smoothing, smoothing / classes as f64)?;
        smooth.broadcast_mul(&self.class_weights)
    }
}

impl Loss for CrossEntropy {
    fn with_gradient(&self, logits: &Tensor, targets: &Targets) -> Result<(Tensor, Tensor)> {
        match targets {
            Targets::Classes(classes) if cuda::serves(logits) => self.launch(logits, classes),
            _ => differentiated(self, logits, targets),
        }
    }

    fn capturable(&self) -> Option<&CrossEntropy> {
        Some(self)
    }

    fn forward(&self, logits: &Tensor, targets: &Targets) -> Result<Tensor> {
        let log_probabilities = candle_nn::ops::log_softmax(logits, 1)?;
        let sum = |factors: Tensor| (factors * &log_probabilities)?.sum_all()?.neg();
        match targets {
            Targets::Classes(classes) => {
                let weights = self.class_weights.index_select(classes, 0)?;
                sum(self.targets.index_select(classes, 0)?)? / weights.sum_all()?
            }
            Targets::Probabilities(of_classes) => sum(self.factors(of_classes)?)? / of_classes.dim(0)? as f64,
            Targets::Labels { .. } => bail!("cross entropy is for one class per image"),
        }
    }
}
