//! F1: the harmonic mean of precision and recall.

use super::{Metric, Predictions, mean, ratio};

/// `macro_f1`.
pub(super) const MACRO_F1: Metric = Metric {
    name: "macro_f1",
    title: "Macro F1",
    summary: "Mean F1 over all classes, including absent ones.",
    higher_is_better: true,
    is_fraction: true,
    compute: macro_f1,
};

/// `weighted_f1`.
pub(super) const WEIGHTED_F1: Metric = Metric {
    name: "weighted_f1",
    title: "Weighted F1",
    summary: "Mean F1 over the classes, weighted by their number of images.",
    higher_is_better: true,
    is_fraction: true,
    compute: weighted_f1,
};

/// `micro_f1`.
pub(super) const MICRO_F1: Metric = Metric {
    name: "micro_f1",
    title: "Micro F1",
    summary: "F1 of the counts summed over all classes; equals accuracy if each image has one class.",
    higher_is_better: true,
    is_fraction: true,
    compute: micro_f1,
};

/// F1 from counts; 0 for a class that is neither present nor predicted.
pub(super) fn f1(hits: usize, predicted: usize, support: usize) -> f64 {
    ratio(2 * hits, predicted + support)
}

/// F1 of each class.
pub fn per_class_f1(predictions: &Predictions) -> Vec<f64> {
    let confusion = predictions.confusion();
    let of_class = |class| f1(confusion.hits(class), confusion.predicted(class), confusion.support(class));
    (0..confusion.classes()).map(of_class).collect()
}

/// Mean F1 over all classes, including absent ones.
fn macro_f1(predictions: &Predictions) -> Option<f64> {
    mean(per_class_f1(predictions))
}

/// Mean F1 over the classes, weighted by their number of images.
fn weighted_f1(predictions: &Predictions) -> Option<f64> {
    let confusion = predictions.confusion();
    let per_class = per_class_f1(predictions).into_iter().enumerate();
    let weighted: f64 = per_class.map(|(class, f1)| f1 * confusion.support(class) as f64).sum();
    Some(weighted / confusion.total() as f64)
}

/// F1 of the counts summed over all classes; equals accuracy if each image has one class.
fn micro_f1(predictions: &Predictions) -> Option<f64> {
    let confusion = predictions.confusion();
    Some(f1(confusion.correct(), confusion.total(), confusion.total()))
}
