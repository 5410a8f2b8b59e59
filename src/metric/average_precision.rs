//! Average precision: the area under the precision-recall steps.

use super::ranking::{Ranking, one_vs_rest};
use super::{Metric, Predictions};

/// `average_precision`.
pub(super) const AVERAGE_PRECISION: Metric = Metric {
    name: "average_precision",
    title: "Average precision",
    summary: "Area under the precision-recall steps: of class 1 if there are two classes, otherwise the one-vs-rest mean; multi-label: the mean over classes.",
    higher_is_better: true,
    is_fraction: true,
    is_multi_label: true,
    compute: average_precision,
};

/// Average precision of class 1 if there are two classes, otherwise the one-vs-rest mean; multi-label: the mean over
/// classes.
fn average_precision(predictions: &Predictions) -> Option<f64> {
    one_vs_rest(predictions, area)
}

/// Σ (R_k − R_{k−1}) P_k over the distinct scores in descending order. `None` if no image is of the class.
pub(super) fn area(ranking: &Ranking) -> Option<f64> {
    let positives = ranking.positives();
    let (mut hits, mut taken, mut area) = (0, 0, 0.0);
    for tie in ranking.ties() {
        hits += tie.positives;
        taken += tie.positives + tie.negatives;
        area += tie.positives as f64 * (hits as f64 / taken as f64);
    }
    (positives > 0).then(|| area / positives as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_mean_precision_at_the_images_of_the_class() {
        let images = [(0.1, false), (0.4, false), (0.35, true), (0.8, true)];
        let value = area(&Ranking::new(images.into_iter())).unwrap();
        assert!((value - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-15);
        assert_eq!(area(&Ranking::new([(0.1, false)].into_iter())), None);
    }
}
