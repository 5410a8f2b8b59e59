//! Metrics of predicted probabilities, following scikit-learn's definitions.
//!
//! | file | what |
//! |---|---|
//! | [`labels`] | one class per image, or any number |
//! | [`predictions`] | labels and probabilities, validated once; quantities shared by several metrics; resamples |
//! | [`confusion`], `tally` | counts of (label, predicted class), and of one class against the rest |
//! | [`ranking`] | images ordered by a score, for threshold-free metrics |
//! | `accuracy`, `f1`, `precision_recall`, `kappa`, `mcc` | metrics of the confusion matrix |
//! | `auroc`, `average_precision` | metrics of the rankings |
//! | `log_loss`, `calibration` | metrics of the probabilities |
//! | [`entropy`] | a score without labels, which only selects epochs |
//! | [`curves`] | ROC and precision-recall curves, and scores of single classes |
//!
//! Of a multi-label data set, each class is a binary decision at a probability of 0.5, and unknown labels are left out.
//! A metric that needs one class per image is undefined there.
//!
//! To add one: a [`Metric`] with its function `fn(&Predictions) -> Option<f64>` in a file here, a `mod` line and a line
//! in [`METRICS`]. Each image is weighted by its multiplicity, [`predictions::Image::count`].

mod accuracy;
mod auroc;
mod average_precision;
pub mod calibration;
pub mod confusion;
pub mod curves;
pub mod entropy;
mod error;
mod f1;
mod kappa;
pub mod labels;
mod log_loss;
mod mcc;
mod precision_recall;
pub mod predictions;
pub mod ranking;
mod tally;

use indexmap::IndexMap;

pub use confusion::Confusion;
pub use entropy::ENTROPY;
pub use error::MetricError;
pub use f1::per_class_f1;
pub use labels::{Labeling, Labels, MultiLabels, State};
pub use predictions::Predictions;
pub use tally::Tally;

/// A score of predictions.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Name in experiment files and result tables.
    pub name: &'static str,
    /// Name for readers, in Markdown and LaTeX tables.
    pub title: &'static str,
    /// What it measures, in one sentence.
    pub summary: &'static str,
    /// Whether a larger value is better.
    pub higher_is_better: bool,
    /// Whether its scale is that of fractions, with 1 for all, so that it can be shown in percent.
    pub is_fraction: bool,
    /// Whether it is defined for a multi-label data set.
    pub is_multi_label: bool,
    compute: fn(&Predictions) -> Option<f64>,
}

/// Every metric, in the order of result tables.
pub const METRICS: &[Metric] = &[
    f1::MACRO_F1,
    f1::WEIGHTED_F1,
    f1::MICRO_F1,
    accuracy::ACCURACY,
    accuracy::BALANCED_ACCURACY,
    precision_recall::MACRO_PRECISION,
    precision_recall::MACRO_RECALL,
    auroc::AUROC,
    average_precision::AVERAGE_PRECISION,
    kappa::COHEN_KAPPA,
    kappa::QUADRATIC_KAPPA,
    mcc::MCC,
    log_loss::LOG_LOSS,
    calibration::ECE_15,
];

/// Names of [`METRICS`], in the same order.
pub const NAMES: &[&str] = &{
    let mut names = [""; METRICS.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = METRICS[i].name;
        i += 1;
    }
    names
};

impl Metric {
    /// Whether it is defined for images that are labeled like this.
    pub fn suits(&self, labeling: Labeling) -> bool {
        self.is_multi_label || labeling.is_single_label()
    }

    /// The score; `None` if undefined (AUROC if a class is absent from the labels).
    pub fn score(&self, predictions: &Predictions) -> Option<f64> {
        (self.compute)(predictions)
    }
}

/// Finds a metric by name.
pub fn by_name(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

/// Computes every metric: `labels` has one label per image, `probabilities` one row of `classes` per image.
///
/// # Errors
/// If the lengths differ, a label is not below `classes`, or a row is not a distribution (NaN, logits).
pub fn score_all(
    labels: &[u32],
    probabilities: &[Vec<f32>],
    classes: usize,
) -> Result<IndexMap<&'static str, Option<f64>>, MetricError> {
    Ok(scores(&Predictions::new(labels, probabilities, classes)?))
}

/// Computes every metric, in the order of [`METRICS`].
pub fn scores(predictions: &Predictions) -> IndexMap<&'static str, Option<f64>> {
    METRICS.iter().map(|metric| (metric.name, metric.score(predictions))).collect()
}

/// `part / whole`, or 0 if `whole` is 0: scikit-learn's `zero_division=0`.
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Mean of a score over all classes; `None` if nothing is known of a class.
fn class_mean(predictions: &Predictions, score: impl Fn(&Tally) -> f64) -> Option<f64> {
    let tallies = predictions.tallies();
    let is_known = tallies.iter().all(|tally| tally.known > 0);
    mean(tallies.iter().map(score)).filter(|_| is_known)
}

/// Mean of the values; `None` if there are no values.
fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.into_iter().fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_found_by_its_name_and_names_are_unique() {
        for (metric, name) in METRICS.iter().zip(NAMES) {
            assert_eq!(metric.name, *name);
            assert_eq!(by_name(name).map(|found| found.name), Some(*name));
        }
        let distinct: std::collections::BTreeSet<_> = NAMES.iter().collect();
        assert_eq!(distinct.len(), NAMES.len());
        assert!(by_name("macro f1").is_none());
    }

    #[test]
    fn a_perfect_classifier_has_the_best_value_of_every_metric() {
        let labels = [0, 1, 2, 2];
        let rows: Vec<Vec<f32>> =
            labels.iter().map(|&y| (0..3).map(|c| f32::from(c == y)).collect()).collect();
        for (name, value) in score_all(&labels, &rows, 3).unwrap() {
            let best = if by_name(name).unwrap().higher_is_better { 1.0 } else { 0.0 };
            assert!((value.unwrap() - best).abs() < 1e-12, "{name} = {value:?}");
        }
    }

    #[test]
    fn ten_thousand_images_of_ten_classes_take_milliseconds() {
        let labels: Vec<u32> = (0..10_000).map(|i| i % 10).collect();
        let row = |i: usize| -> Vec<f32> {
            let raw: Vec<f32> = (0..10).map(|c| 1.0 + ((i * 7 + c * 131) as f32).sin()).collect();
            let sum: f32 = raw.iter().sum();
            raw.iter().map(|p| p / sum).collect()
        };
        let rows: Vec<Vec<f32>> = (0..10_000).map(row).collect();
        let start = std::time::Instant::now();
        score_all(&labels, &rows, 10).unwrap();
        let elapsed = start.elapsed();
        println!("score_all: {elapsed:?}");
        assert!(elapsed.as_millis() < 500, "{elapsed:?}: not O(n log n) any more?");
    }
}
