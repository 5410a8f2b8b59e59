//! The loss with its gradient, in one launch.

use candle_core::{Result, Tensor};

use super::launch::{Launch, THREADS};
use super::to_be_written;

/// Mean softmax cross entropy and its gradient. With `factors [c, c]` and `weights [c]` an image of class y has the loss
/// `−Σ_k factors[y, k] log softmax(z)_k`; the mean is over the sum of `weights[y]`. Labels are u32.
///
/// # Errors
/// A tensor is not contiguous, or the launch failed.
pub fn cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    factors: &Tensor,
    weights: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let logits = logits.contiguous()?;
    let (n, classes) = logits.dims2()?;
    let loss = to_be_written((), logits.dtype(), &logits)?;
    let gradient = to_be_written((n, classes), logits.dtype(), &logits)?;
    let launch = Launch::new("cross_entropy", &logits).tensor(&logits)?.tensor(labels)?.tensor(factors)?;
    let launch = launch.tensor(weights)?.tensor(&loss)?.tensor(&gradient)?;
    launch.int(n)?.int(classes)?.run([1; 3], [32, THREADS / 32, 1])?;
    Ok((loss, gradient))
}
