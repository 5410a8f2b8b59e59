//! Log loss: the mean negative log-likelihood of the labels.

use super::{Metric, Predictions};

/// `log_loss`.
pub(super) const LOG_LOSS: Metric = Metric {
    name: "log_loss",
    title: "Log loss",
    summary: "Mean negative log-likelihood of the labels, in nats.",
    higher_is_better: false,
    is_fraction: false,
    compute: log_loss,
};

/// In nats. Probabilities are clipped to [2⁻⁵², 1 − 2⁻⁵²], so a certain error costs 36 rather than infinity.
fn log_loss(predictions: &Predictions) -> Option<f64> {
    let of_label = |p: f64| -p.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln();
    let losses =
        predictions.images().map(|image| image.count as f64 * of_label(image.probabilities[image.label]));
    Some(losses.sum::<f64>() / predictions.total() as f64)
}
