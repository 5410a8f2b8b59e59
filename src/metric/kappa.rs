//! Cohen's kappa: agreement beyond chance (Cohen 1960, 1968).

use super::{Metric, Predictions};

/// `cohen_kappa`.
pub(super) const COHEN_KAPPA: Metric = Metric {
    name: "cohen_kappa",
    title: "Cohen's kappa",
    summary: "Cohen's kappa: agreement beyond chance.",
    higher_is_better: true,
    is_fraction: true,
    is_multi_label: false,
    compute: cohen_kappa,
};

/// `quadratic_kappa`.
pub(super) const QUADRATIC_KAPPA: Metric = Metric {
    name: "quadratic_kappa",
    title: "Quadratic kappa",
    summary: "Cohen's kappa for grades: a disagreement is weighted by its squared distance.",
    higher_is_better: true,
    is_fraction: true,
    is_multi_label: false,
    compute: quadratic_kappa,
};

/// Unweighted kappa.
fn cohen_kappa(predictions: &Predictions) -> Option<f64> {
    kappa(predictions, |distance| f64::from(u8::from(distance > 0)))
}

/// Kappa for grades: a disagreement is weighted by the squared distance between the classes.
fn quadratic_kappa(predictions: &Predictions) -> Option<f64> {
    kappa(predictions, |distance| (distance as f64).powi(2))
}

/// 1 − observed / expected disagreement; `None` if the expected disagreement is 0 (all images in one class).
fn kappa(predictions: &Predictions, weight: fn(usize) -> f64) -> Option<f64> {
    let confusion = predictions.confusion()?;
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
