//! Precision and recall, averaged over the classes.

use super::{Metric, Predictions, mean, ratio};

/// `macro_precision`.
pub(super) const MACRO_PRECISION: Metric = Metric {
    name: "macro_precision",
    summary: "Mean precision of all classes; 0 where a class is never predicted.",
    higher_is_better: true,
    compute: macro_precision,
};

/// `macro_recall`.
pub(super) const MACRO_RECALL: Metric = Metric {
    name: "macro_recall",
    summary: "Mean recall of all classes; 0 where a class has no image.",
    higher_is_better: true,
    compute: macro_recall,
};

/// Mean over all classes of right predictions among those predicted as the class; 0 where there are none.
fn macro_precision(predictions: &Predictions) -> Option<f64> {
    let confusion = predictions.confusion();
    mean((0..confusion.classes()).map(|class| ratio(confusion.hits(class), confusion.predicted(class))))
}

/// Mean over all classes of right predictions among the class's images; 0 where there are none.
fn macro_recall(predictions: &Predictions) -> Option<f64> {
    let confusion = predictions.confusion();
    mean((0..confusion.classes()).map(|class| ratio(confusion.hits(class), confusion.support(class))))
}
