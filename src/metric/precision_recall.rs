//! Precision and recall, averaged over classes.

use super::{Metric, Predictions, class_mean, ratio};

/// `macro_precision`.
pub(super) const MACRO_PRECISION: Metric = Metric {
    name: "macro_precision",
    title: "Macro precision",
    summary: "Mean precision over all classes; 0 for a class that is never predicted.",
    higher_is_better: true,
    is_fraction: true,
    is_multi_label: true,
    compute: macro_precision,
};

/// `macro_recall`.
pub(super) const MACRO_RECALL: Metric = Metric {
    name: "macro_recall",
    title: "Macro recall",
    summary: "Mean recall over all classes; 0 for a class without images.",
    higher_is_better: true,
    is_fraction: true,
    is_multi_label: true,
    compute: macro_recall,
};

/// Mean over all classes of the fraction of correct predictions among those of the class; 0 if there are none.
fn macro_precision(predictions: &Predictions) -> Option<f64> {
    class_mean(predictions, |tally| ratio(tally.hits, tally.predicted))
}

/// Mean over all classes of the fraction of the class's images predicted correctly; 0 if there are none.
fn macro_recall(predictions: &Predictions) -> Option<f64> {
    class_mean(predictions, |tally| ratio(tally.hits, tally.support))
}
