//! F1: the harmonic mean of precision and recall.

use super::{Metric, Predictions, Tally, class_mean, ratio};

/// `macro_f1`.
pub(super) const MACRO_F1: Metric = Metric {
    name: "macro_f1",
    title: "Macro F1",
    summary: "Mean F1 over all classes, including absent ones.",
    higher_is_better: true,
    is_fraction: true,
    is_multi_label: true,
    compute: macro_f1,
};

/// `weighted_f1`.
pub(super) const WEIGHTED_F1: Metric = Metric {
    name: "weighted_f1",
    title: "Weighted F1",
    summary: "Mean F1 over the classes, weighted by their number of images.",
    higher_is_better: true,
    is_fraction: true,
    is_multi_label: true,
    compute: weighted_f1,
};

/// `micro_f1`.
pub(super) const MICRO_F1: Metric = Metric {
    name: "micro_f1",
    title: "Micro F1",
    summary: "F1 of the counts summed over all classes; equals accuracy if each image has one class.",
    higher_is_better: true,
    is_fraction: true,
    is_multi_label: true,
    compute: micro_f1,
};

/// F1 from counts; 0 for a class that is neither present nor predicted.
pub(super) fn f1(tally: &Tally) -> f64 {
    ratio(2 * tally.hits, tally.predicted + tally.support)
}

/// F1 of each class.
pub fn per_class_f1(predictions: &Predictions) -> Vec<f64> {
    predictions.tallies().iter().map(f1).collect()
}

/// Mean F1 over all classes, including absent ones.
fn macro_f1(predictions: &Predictions) -> Option<f64> {
    class_mean(predictions, f1)
}

/// Mean F1 over the classes, weighted by their number of images.
fn weighted_f1(predictions: &Predictions) -> Option<f64> {
    class_mean(predictions, f1)?;
    let tallies = predictions.tallies();
    let weighted: f64 = tallies.iter().map(|tally| f1(tally) * tally.support as f64).sum();
    let support: usize = tallies.iter().map(|tally| tally.support).sum();
    Some(if support == 0 { 0.0 } else { weighted / support as f64 })
}

/// F1 of the counts summed over all classes; equals accuracy if each image has one class.
fn micro_f1(predictions: &Predictions) -> Option<f64> {
    let sum = predictions.tallies().iter().fold(Tally::default(), |sum, tally| sum.plus(tally));
    (sum.known > 0).then(|| f1(&sum))
}
