//! Multiclass Matthews correlation coefficient (Gorodkin 2004).

use super::{Metric, Predictions};

/// `mcc`.
pub(super) const MCC: Metric = Metric {
    name: "mcc",
    title: "MCC",
    summary: "Matthews correlation coefficient of labels and predictions.",
    higher_is_better: true,
    is_fraction: true,
    is_multi_label: false,
    compute: mcc,
};

/// Correlation of labels and predictions; 0 if either has a single class.
fn mcc(predictions: &Predictions) -> Option<f64> {
    let confusion = predictions.confusion()?;
    let total = confusion.total() as f64;
    let sum = |product: &dyn Fn(usize) -> usize| -> f64 {
        (0..confusion.classes()).map(|class| product(class) as f64).sum()
    };
    let (support, predicted) = (|class| confusion.support(class), |class| confusion.predicted(class));
    let covariance = confusion.correct() as f64 * total - sum(&|class| support(class) * predicted(class));
    let labels = total * total - sum(&|class| support(class) * support(class));
    let predictions = total * total - sum(&|class| predicted(class) * predicted(class));
    let variance = labels * predictions;
    Some(if variance == 0.0 { 0.0 } else { covariance / variance.sqrt() })
}
