//! Distillation: the divergence of a student's predictions from those of its teachers (Hinton et al. 2015, arXiv
//! 1503.02531, section 2).

use candle_core::{Result, Tensor, bail};
use candle_nn::ops::{log_softmax, sigmoid, softmax};
use dataset::Labeling;
use identity::Averaged;

use super::binary_cross_entropy::softplus;
use super::gradient_of;

/// How predictions are softened, and what their mean is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softening {
    /// T: logits are divided by it.
    pub temperature: f64,
    /// What is averaged over the teachers.
    pub of: Averaged,
    /// Softmax of all classes, or a sigmoid of each.
    pub labeling: Labeling,
}

impl Softening {
    /// Targets `[n, c]` from the logits `[n, c]` of each teacher: the mean of softmax(z / T), or the softmax of the mean
    /// of z / T, which is the normalized geometric mean of the probabilities. Of a multi-label data set, sigmoids.
    ///
    /// # Errors
    /// There is no teacher, or shapes differ.
    pub fn targets(&self, teachers: &[Tensor]) -> Result<Tensor> {
        match self.of {
            Averaged::Logits => self.probabilities(&mean(teachers)?),
            Averaged::Probabilities => {
                let probabilities = teachers.iter().map(|logits| self.probabilities(logits));
                mean(&probabilities.collect::<Result<Vec<_>>>()?)
            }
        }
    }

    fn probabilities(&self, logits: &Tensor) -> Result<Tensor> {
        let softened = (logits / self.temperature)?;
        match self.labeling {
            Labeling::SingleLabel => softmax(&softened, 1),
            Labeling::MultiLabel => sigmoid(&softened),
        }
    }

    /// The [loss](Self::loss) and its gradient with respect to the student's logits.
    ///
    /// # Errors
    /// As [`Self::loss`].
    pub fn with_gradient(&self, logits: &Tensor, targets: &Tensor) -> Result<(Tensor, Tensor)> {
        gradient_of(logits, |logits| self.loss(logits, targets))
    }

    /// `T² · KL(q ‖ softmax(z / T))`, the mean over images, of a student's logits z `[n, c]` and targets q `[n, c]`. The
    /// factor T² keeps the size of gradients when T changes. Of a multi-label data set, the mean over images and classes
    /// of the divergence of sigmoids.
    ///
    /// # Errors
    /// Shapes or devices differ.
    pub fn loss(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let softened = (logits / self.temperature)?;
        let divergence = match self.labeling {
            Labeling::SingleLabel => divergence(&softened, targets)?,
            Labeling::MultiLabel => binary_divergence(&softened, targets)?,
        };
        divergence * self.temperature.powi(2)
    }
}

/// Mean over images of `Σ_k q_k (log q_k − log softmax(z)_k)`.
fn divergence(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let cross = (targets * log_softmax(logits, 1)?)?;
    (x_log_x(targets)? - cross)?.sum_all()? / targets.dim(0)? as f64
}

/// Mean over images and classes of `q log(q / p) + (1 − q) log((1 − q) / (1 − p))`, p = sigmoid(z). The terms with p are
/// softplus(z) − q z.
fn binary_divergence(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let own = (x_log_x(targets)? + x_log_x(&targets.affine(-1.0, 1.0)?)?)?;
    let cross = (softplus(logits)? - (targets * logits)?)?;
    (own + cross)?.mean_all()
}

/// x log x, and 0 at 0.
fn x_log_x(x: &Tensor) -> Result<Tensor> {
    x * x.maximum(f64::from(f32::MIN_POSITIVE))?.log()?
}

fn mean(tensors: &[Tensor]) -> Result<Tensor> {
    let Some((first, rest)) = tensors.split_first() else { bail!("distillation without teachers") };
    let sum = rest.iter().try_fold(first.clone(), |sum, tensor| sum + tensor)?;
    sum / tensors.len() as f64
}
