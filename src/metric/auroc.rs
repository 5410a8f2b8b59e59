//! Area under the receiver operating characteristic.

use super::ranking::{Ranking, one_vs_rest};
use super::{Metric, Predictions};

/// `auroc`.
pub(super) const AUROC: Metric = Metric {
    name: "auroc",
    title: "AUROC",
    summary: "Area under the ROC curve: of class 1 if there are two classes, otherwise the one-vs-rest mean; multi-label: the mean over classes.",
    higher_is_better: true,
    is_fraction: true,
    is_multi_label: true,
    compute: auroc,
};

/// AUROC of class 1 if there are two classes, otherwise the one-vs-rest mean; multi-label: the mean over classes.
fn auroc(predictions: &Predictions) -> Option<f64> {
    one_vs_rest(predictions, area)
}

/// Probability that an image of the class ranks above an image of another class, with ties counting one half
/// (Mann and Whitney 1947). `None` unless both occur.
pub(super) fn area(ranking: &Ranking) -> Option<f64> {
    let (positives, negatives) = (ranking.positives(), ranking.negatives());
    let mut below = negatives;
    let mut twice_won = 0;
    for tie in ranking.ties() {
        below -= tie.negatives;
        twice_won += tie.positives * (2 * below + tie.negatives);
    }
    let pairs = positives * negatives;
    (pairs > 0).then(|| twice_won as f64 / (2 * pairs) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area_of(images: &[(f64, bool)]) -> Option<f64> {
        area(&Ranking::new(images.iter().copied()))
    }

    #[test]
    fn ties_count_half() {
        assert_eq!(area_of(&[(0.1, false), (0.4, false), (0.35, true), (0.8, true)]), Some(0.75));
        assert_eq!(area_of(&[(0.5, false), (0.5, true)]), Some(0.5));
        assert_eq!(area_of(&[(0.9, true), (0.5, true), (0.5, false), (0.1, false)]), Some(0.875));
    }

    #[test]
    fn it_is_undefined_without_both_classes() {
        assert_eq!(area_of(&[(0.1, true), (0.4, true)]), None);
        assert_eq!(area_of(&[(0.1, false)]), None);
    }
}
