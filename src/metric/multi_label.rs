//! Metrics for images with any number of labels each: one independent binary decision per class.

use indexmap::IndexMap;

use super::f1::f1;
use super::predictions::checked_probabilities;
use super::ranking::{Ranking, macro_mean};
use super::{MetricError, auroc, average_precision, mean, ratio};

/// A class is predicted if its probability is at least this.
const THRESHOLD: f64 = 0.5;

/// Validated predictions for `n` images.
struct Predictions {
    classes: usize,
    /// `[n, classes]`, row-major.
    labels: Vec<bool>,
    /// `[n, classes]`, row-major.
    probabilities: Vec<f64>,
}

/// Counts of one class, or summed over classes.
#[derive(Clone, Copy, Default)]
struct Counts {
    hits: usize,
    predicted: usize,
    support: usize,
}

/// Computes every metric: `labels` and `probabilities` have one row per image, with one value per class. AUROC and
/// average precision are `None` if a class has no image; AUROC also if a class has every image.
///
/// # Errors
/// If the shapes differ or a value is not a probability (NaN, logits).
pub fn score_all<P: Copy + Into<f64>>(
    labels: &[Vec<bool>],
    probabilities: &[Vec<P>],
) -> Result<IndexMap<&'static str, Option<f64>>, MetricError> {
    let predictions = Predictions::new(labels, probabilities)?;
    let counts: Vec<Counts> = (0..predictions.classes).map(|class| predictions.counts(class)).collect();
    let rankings: Vec<Ranking> = (0..predictions.classes).map(|class| predictions.ranking(class)).collect();
    Ok(IndexMap::from([
        ("macro_f1", mean(counts.iter().map(Counts::f1))),
        ("micro_f1", Some(counts.iter().fold(Counts::default(), Counts::plus).f1())),
        ("subset_accuracy", Some(predictions.subset_accuracy())),
        ("auroc", macro_mean(&rankings, auroc::area)),
        ("average_precision", macro_mean(&rankings, average_precision::area)),
    ]))
}

impl Predictions {
    fn new<P: Copy + Into<f64>>(labels: &[Vec<bool>], rows: &[Vec<P>]) -> Result<Self, MetricError> {
        if labels.len() != rows.len() {
            return Err(MetricError::Lengths { labels: labels.len(), rows: rows.len() });
        }
        let classes = labels.first().map_or(0, Vec::len);
        if classes == 0 {
            return Err(MetricError::Nothing);
        }
        if let Some(image) = labels.iter().position(|row| row.len() != classes) {
            return Err(MetricError::RowLength { image, found: labels[image].len(), classes });
        }
        Ok(Self { classes, labels: labels.concat(), probabilities: checked_probabilities(rows, classes)? })
    }

    /// (probability, label) of every image for one class.
    fn of_class(&self, class: usize) -> impl Iterator<Item = (f64, bool)> {
        let every = |start| (start..self.labels.len()).step_by(self.classes);
        every(class).map(|i| (self.probabilities[i], self.labels[i]))
    }

    fn ranking(&self, class: usize) -> Ranking {
        Ranking::new(self.of_class(class))
    }

    fn counts(&self, class: usize) -> Counts {
        let count = |counts: Counts, (p, label): (f64, bool)| Counts {
            hits: counts.hits + usize::from(label && p >= THRESHOLD),
            predicted: counts.predicted + usize::from(p >= THRESHOLD),
            support: counts.support + usize::from(label),
        };
        self.of_class(class).fold(Counts::default(), count)
    }

    /// Fraction of images with every class predicted correctly.
    fn subset_accuracy(&self) -> f64 {
        let rows = self.labels.chunks(self.classes).zip(self.probabilities.chunks(self.classes));
        let right = |(labels, row): &(&[bool], &[f64])| {
            labels.iter().zip(*row).all(|(&label, &p)| label == (p >= THRESHOLD))
        };
        ratio(rows.filter(right).count(), self.labels.len() / self.classes)
    }
}

impl Counts {
    fn f1(&self) -> f64 {
        f1(self.hits, self.predicted, self.support)
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            hits: self.hits + other.hits,
            predicted: self.predicted + other.predicted,
            support: self.support + other.support,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_without_images_leaves_the_ranking_metrics_undefined() {
        let labels = [vec![true, false], vec![false, false]];
        let scores = score_all(&labels, &[vec![0.9f32, 0.2], vec![0.4, 0.6]]).unwrap();
        assert_eq!(scores["auroc"], None);
        assert_eq!(scores["average_precision"], None);
        assert_eq!(scores["macro_f1"], Some(0.5));
        assert_eq!(scores["subset_accuracy"], Some(0.5));
    }

    #[test]
    fn shapes_and_probabilities_are_checked() {
        let labels = [vec![true, false]];
        let error = |rows: &[Vec<f32>]| score_all(&labels, rows).unwrap_err().to_string();
        assert!(error(&[vec![0.5, f32::NAN]]).contains("NaN"));
        assert!(error(&[vec![0.5]]).contains("2 classes"));
        assert!(error(&[]).contains("0 rows"));
        assert!(score_all::<f32>(&[], &[]).is_err());
        assert!(score_all(&[vec![true], vec![]], &[vec![0.5f32], vec![]]).is_err());
        assert!(score_all(&[vec![]], &[Vec::<f32>::new()]).is_err());
    }
}
