//! Accuracy and balanced accuracy.

use super::{Metric, Predictions, mean, ratio};

/// `accuracy`.
pub(super) const ACCURACY: Metric = Metric {
    name: "accuracy",
    title: "Accuracy",
    summary: "Fraction of images classified correctly.",
    higher_is_better: true,
    is_fraction: true,
    compute: accuracy,
};

/// `balanced_accuracy`.
pub(super) const BALANCED_ACCURACY: Metric = Metric {
    name: "balanced_accuracy",
    title: "Balanced accuracy",
    summary: "Mean recall over the classes that have images.",
    higher_is_better: true,
    is_fraction: true,
    compute: balanced_accuracy,
};

/// Fraction of images classified correctly.
fn accuracy(predictions: &Predictions) -> Option<f64> {
    let confusion = predictions.confusion();
    Some(ratio(confusion.correct(), confusion.total()))
}

/// Mean recall over the classes that occur in the labels.
fn balanced_accuracy(predictions: &Predictions) -> Option<f64> {
    let confusion = predictions.confusion();
    let present = (0..confusion.classes()).filter(|&class| confusion.support(class) > 0);
    mean(present.map(|class| ratio(confusion.hits(class), confusion.support(class))))
}
