//! Accuracy, and its mean over the classes.

use super::{Predictions, mean, ratio};

/// The share of images predicted right.
pub(super) fn accuracy(predictions: &Predictions) -> Option<f64> {
    let confusion = predictions.confusion();
    Some(ratio(confusion.correct(), confusion.total()))
}

/// Mean recall of the classes that the labels hold.
pub(super) fn balanced_accuracy(predictions: &Predictions) -> Option<f64> {
    let confusion = predictions.confusion();
    let present = (0..confusion.classes()).filter(|&class| confusion.support(class) > 0);
    mean(present.map(|class| ratio(confusion.hits(class), confusion.support(class))))
}
