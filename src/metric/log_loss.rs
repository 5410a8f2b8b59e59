//! Log loss: the mean negative log-likelihood of the labels.

use super::{Predictions, mean};

/// In nats. Probabilities are kept 2⁻⁵² away from 0 and 1, so a certain error costs 36, not infinity.
pub(super) fn log_loss(predictions: &Predictions) -> Option<f64> {
    let of_label = |(row, &label): (&[f64], &usize)| row[label].clamp(f64::EPSILON, 1.0 - f64::EPSILON);
    mean(predictions.rows().zip(predictions.labels()).map(of_label).map(|p| -p.ln()))
}
