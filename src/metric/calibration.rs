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

/// Sums over the images in one confidence bin.
#[derive(Clone, Copy, Default)]
struct Bin {
    correct: usize,
    confidence: f64,
}

/// Expected calibration error with 15 bins of equal width (Guo et al. 2017, equation 3): the mean over images of
/// |accuracy − mean confidence| of the image's bin. Bins are (low, high].
fn ece_15(predictions: &Predictions) -> Option<f64> {
    let mut bins = [Bin::default(); BINS];
    for image in predictions.images()? {
        let confidence = image.probabilities[image.predicted];
        let bin = &mut bins[bin_of(confidence)];
        bin.correct += if image.label == image.predicted { image.count } else { 0 };
        bin.confidence += image.count as f64 * confidence;
    }
    let gaps: f64 = bins.iter().map(|bin| (bin.correct as f64 - bin.confidence).abs()).sum();
    Some(gaps / predictions.total() as f64)
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
