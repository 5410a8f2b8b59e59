//! Cohen's kappa: agreement beyond that of chance (Cohen 1960, 1968).

use super::{Metric, Predictions};

/// `cohen_kappa`.
pub(super) const COHEN_KAPPA: Metric = Metric {
    name: "cohen_kappa",
    summary: "Cohen's kappa: agreement beyond chance.",
    higher_is_better: true,
    compute: cohen_kappa,
};

/// `quadratic_kappa`.
pub(super) const QUADRATIC_KAPPA: Metric = Metric {
    name: "quadratic_kappa",
    summary: "The same for grades: a disagreement counts by the square of its distance.",
    higher_is_better: true,
    compute: quadratic_kappa,
};

/// All disagreements count the same.
fn cohen_kappa(predictions: &Predictions) -> Option<f64> {
    kappa(predictions, |distance| f64::from(u8::from(distance > 0)))
}

/// A disagreement counts as the square of the distance between the classes, which are grades.
fn quadratic_kappa(predictions: &Predictions) -> Option<f64> {
    kappa(predictions, |distance| (distance as f64).powi(2))
}

/// 1 − observed / expected disagreement; `None` if none can be expected (all in one class).
fn kappa(predictions: &Predictions, weight: fn(usize) -> f64) -> Option<f64> {
    let confusion = predictions.confusion();
    let (mut observed, mut expected) = (0.0, 0.0);
    for (label, counts) in confusion.rows().enumerate() {
        for (predicted, &count) in counts.iter().enumerate() {
            let weight = weight(label.abs_diff(predicted));
            observed += weight * count as f64;
            expected += weight * confusion.support(label) as f64 * confusion.predicted(predicted) as f64;
        }
    }
    (expected > 0.0).then(|| 1.0 - observed * confusion.total() as f64 / expected)
}
