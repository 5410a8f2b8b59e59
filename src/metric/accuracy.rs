//! Accuracy and balanced accuracy.

use super::predictions::is_predicted;
use super::{Metric, Predictions, mean, ratio};

/// `accuracy`.
pub(super) const ACCURACY: Metric = Metric {
    name: "accuracy",
    title: "Accuracy",
    summary: "Fraction of images classified correctly; multi-label: with every known label right.",
    higher_is_better: true,
    is_fraction: true,
    is_multi_label: true,
    compute: accuracy,
};

/// `balanced_accuracy`.
pub(super) const BALANCED_ACCURACY: Metric = Metric {
    name: "balanced_accuracy",
    title: "Balanced accuracy",
    summary: "Mean recall over the classes that have images.",
    higher_is_better: true,
    is_fraction: true,
    is_multi_label: false,
    compute: balanced_accuracy,
};

/// Fraction of images classified correctly.
fn accuracy(predictions: &Predictions) -> Option<f64> {
    match predictions.confusion() {
        Some(confusion) => Some(ratio(confusion.correct(), confusion.total())),
        None => subset_accuracy(predictions),
    }
}

/// Fraction of the images with known labels of which all are predicted correctly.
fn subset_accuracy(predictions: &Predictions) -> Option<f64> {
    let (mut right, mut images) = (0, 0);
    for image in predictions.multi_label_images()?.filter(|image| image.known().next().is_some()) {
        let is_right = image.known().all(|(present, p)| present == is_predicted(p));
        right += if is_right { image.count } else { 0 };
        images += image.count;
    }
    (images > 0).then(|| ratio(right, images))
}

/// Mean recall over the classes that occur in the labels.
fn balanced_accuracy(predictions: &Predictions) -> Option<f64> {
    let confusion = predictions.confusion()?;
    let present = (0..confusion.classes()).filter(|&class| confusion.support(class) > 0);
    mean(present.map(|class| ratio(confusion.hits(class), confusion.support(class))))
}
