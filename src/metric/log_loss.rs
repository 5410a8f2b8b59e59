//! Log loss: the mean negative log-likelihood of the labels.

use super::{Metric, Predictions};

/// `log_loss`.
pub(super) const LOG_LOSS: Metric = Metric {
    name: "log_loss",
    title: "Log loss",
    summary: "Mean negative log-likelihood of the labels, in nats; multi-label: mean binary cross entropy of known labels.",
    higher_is_better: false,
    is_fraction: false,
    is_multi_label: true,
    compute: log_loss,
};

/// In nats. Probabilities are clipped to [2⁻⁵², 1 − 2⁻⁵²], so a certain error costs 36 rather than infinity.
fn log_loss(predictions: &Predictions) -> Option<f64> {
    let Some(images) = predictions.images() else { return binary_cross_entropy(predictions) };
    let losses = images.map(|image| image.count as f64 * of_probability(image.probabilities[image.label]));
    Some(losses.sum::<f64>() / predictions.total() as f64)
}

/// The mean over known labels, in nats.
fn binary_cross_entropy(predictions: &Predictions) -> Option<f64> {
    let (mut sum, mut known) = (0.0, 0);
    for image in predictions.multi_label_images()? {
        for (present, p) in image.known() {
            sum += image.count as f64 * of_probability(if present { p } else { 1.0 - p });
            known += image.count;
        }
    }
    (known > 0).then(|| sum / known as f64)
}

fn of_probability(p: f64) -> f64 {
    -p.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
}
