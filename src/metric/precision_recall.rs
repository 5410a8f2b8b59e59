//! Precision and recall, averaged over the classes.

use super::{Predictions, mean, ratio};

/// Mean over all classes of right predictions among those predicted as the class; 0 where there are none.
pub(super) fn macro_precision(predictions: &Predictions) -> Option<f64> {
    let confusion = predictions.confusion();
    mean((0..confusion.classes()).map(|class| ratio(confusion.hits(class), confusion.predicted(class))))
}

/// Mean over all classes of right predictions among the class's images; 0 where there are none.
pub(super) fn macro_recall(predictions: &Predictions) -> Option<f64> {
    let confusion = predictions.confusion();
    mean((0..confusion.classes()).map(|class| ratio(confusion.hits(class), confusion.support(class))))
}
