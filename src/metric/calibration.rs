//! Calibration: whether predictions with confidence 80 % are right 80 % of the time.

use super::{Metric, Predictions};

/// `ece_15`.
pub(super) const ECE_15: Metric = Metric {
    name: "ece_15",
    title: "ECE (15 bins)",
    summary: "Expected calibration error in 15 bins of equal width.",
    higher_is_better: false,
    is_fraction: true,
    is_multi_label: false,
    compute: ece_15,
};

const BINS: usize = 15;

/// Sums over the images in one bin of confidence, the probability of the predicted class.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bin {
    /// Number of images.
    pub images: usize,
    /// Number of images predicted correctly.
    pub correct: usize,
    /// Sum of the confidences.
    pub confidence: f64,
}

/// Expected calibration error with 15 bins of equal width (Guo et al. 2017, equation 3): the mean over images of
/// |accuracy − mean confidence| of the image's bin.
fn ece_15(predictions: &Predictions) -> Option<f64> {
    let gaps = bins(predictions)?.map(|bin| (bin.correct as f64 - bin.confidence).abs());
    Some(gaps.iter().sum::<f64>() / predictions.total() as f64)
}

/// The images in 15 bins of equal width, (low, high]: a reliability diagram; `None` for a multi-label data set.
pub fn bins(predictions: &Predictions) -> Option<[Bin; BINS]> {
    let mut bins = [Bin::default(); BINS];
    for image in predictions.images()? {
        let confidence = image.probabilities[image.predicted];
        let bin = &mut bins[bin_of(confidence)];
        bin.images += image.count;
        bin.correct += if image.label == image.predicted { image.count } else { 0 };
        bin.confidence += image.count as f64 * confidence;
    }
    Some(bins)
}

/// Index of the first bin whose upper edge is at least the confidence.
fn bin_of(confidence: f64) -> usize {
    // Edges rounded as by numpy's linspace(0, 1, 16).
    let width = 1.0 / BINS as f64;
    (1..BINS).take_while(|&edge| confidence > edge as f64 * width).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_closed_above() {
        assert_eq!(bin_of(0.0), 0);
        assert_eq!(bin_of(1.0 / 15.0), 0);
        assert_eq!(bin_of(1.0 / 15.0 + 1e-9), 1);
        assert_eq!(bin_of(1.0), 14);
    }
}
