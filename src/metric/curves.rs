//! Curves behind the threshold-free metrics, and scores of single classes.

use super::ranking::{Ranking, Tie};
use super::{Predictions, Tally, auroc, average_precision, f1, ratio};

/// A point of a curve.
pub type Point = [f64; 2];

/// Scores of one class against the rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassScores {
    /// Share of the images predicted as the class that are of it; 0 if there are none.
    pub precision: f64,
    /// Share of the class's images that are predicted as it; 0 if there are none.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
    /// Area under the ROC curve; `None` unless there are images of the class and others.
    pub auroc: Option<f64>,
    /// Average precision; `None` without images of the class.
    pub average_precision: Option<f64>,
    /// Number of images of the class.
    pub support: usize,
}

/// The scores of each class; of a multi-label data set, over the images of which it is known.
pub fn per_class(predictions: &Predictions) -> Vec<ClassScores> {
    let scores = |(tally, ranking): (&Tally, &Ranking)| {
        let Tally { hits, predicted, support, .. } = *tally;
        ClassScores {
            precision: ratio(hits, predicted),
            recall: ratio(hits, support),
            f1: f1::f1(tally),
            auroc: auroc::area(ranking),
            average_precision: average_precision::area(ranking),
            support,
        }
    };
    predictions.tallies().iter().zip(predictions.rankings()).map(scores).collect()
}

/// The ROC curve: (false positive rate, true positive rate) from (0, 0) to (1, 1), without points on a straight line.
/// `None` unless there are images of the class and others. Source: scikit-learn's `roc_curve`.
pub fn roc(ranking: &Ranking) -> Option<Vec<Point>> {
    let (positives, negatives) = (ranking.positives(), ranking.negatives());
    if positives == 0 || negatives == 0 {
        return None;
    }
    let counts: Vec<Tie> = std::iter::once(Tie::default()).chain(cumulated(ranking)).collect();
    let turns =
        |&i: &usize| i == 0 || i + 1 == counts.len() || turns(counts[i - 1], counts[i], counts[i + 1]);
    let point = |i: usize| {
        let Tie { positives: hits, negatives: false_alarms } = counts[i];
        [ratio(false_alarms, negatives), ratio(hits, positives)]
    };
    Some((0..counts.len()).filter(turns).map(point).collect())
}

/// The precision-recall curve: (recall, precision), from (0, 1) to the lowest threshold at which all images of the class
/// are found. `None` without images of the class. Source: scikit-learn's `precision_recall_curve`, reversed.
pub fn precision_recall(ranking: &Ranking) -> Option<Vec<Point>> {
    let positives = ranking.positives();
    if positives == 0 {
        return None;
    }
    let point = |counts: Tie| {
        [ratio(counts.positives, positives), ratio(counts.positives, counts.positives + counts.negatives)]
    };
    Some(std::iter::once([0.0, 1.0]).chain(cumulated(ranking).map(point)).collect())
}

/// The images ranked at least as high as each group of ties.
fn cumulated(ranking: &Ranking) -> impl Iterator<Item = Tie> {
    ranking.ties().iter().scan(Tie::default(), |sum, tie| {
        sum.positives += tie.positives;
        sum.negatives += tie.negatives;
        Some(*sum)
    })
}

/// Whether a curve of counts turns at b.
fn turns(a: Tie, b: Tie, c: Tie) -> bool {
    let (up, right) = (b.positives - a.positives, b.negatives - a.negatives);
    let (up_next, right_next) = (c.positives - b.positives, c.negatives - b.negatives);
    up * right_next != up_next * right
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `roc_curve([0, 0, 1, 1, 0, 1], [.1, .4, .35, .8, .8, .9])` and `precision_recall_curve` of scikit-learn 1.8.
    #[test]
    fn curves_are_scikit_learns() {
        let scores = [(0.1, false), (0.4, false), (0.35, true), (0.8, true), (0.8, false), (0.9, true)];
        let ranking = Ranking::new(scores.into_iter());
        let third = 1.0 / 3.0;
        assert_eq!(
            roc(&ranking).unwrap(),
            [
                [0.0, 0.0],
                [0.0, third],
                [third, 2.0 * third],
                [2.0 * third, 2.0 * third],
                [2.0 * third, 1.0],
                [1.0, 1.0]
            ]
        );
        assert_eq!(
            precision_recall(&ranking).unwrap(),
            [[0.0, 1.0], [third, 1.0], [2.0 * third, 2.0 / 3.0], [2.0 * third, 0.5], [1.0, 0.6], [1.0, 0.5]]
        );
    }

    #[test]
    fn a_curve_needs_images_on_both_sides() {
        let all = Ranking::new([(0.5, true), (0.2, true)].into_iter());
        assert_eq!((roc(&all), precision_recall(&all).map(|curve| curve.len())), (None, Some(3)));
        let none = Ranking::new([(0.5, false)].into_iter());
        assert_eq!((roc(&none), precision_recall(&none)), (None, None));
    }

    #[test]
    fn scores_of_classes_have_the_means_of_the_metrics() {
        let rows = [[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]];
        let predictions = Predictions::new(&[0, 1, 1, 2, 0], &rows.map(|row| row.to_vec()), 3).unwrap();
        let scores = per_class(&predictions);
        let mean = |score: fn(&ClassScores) -> f64| scores.iter().map(score).sum::<f64>() / 3.0;
        let metric = |name| super::super::by_name(name).unwrap().score(&predictions).unwrap();
        assert!((mean(|class| class.f1) - metric("macro_f1")).abs() < 1e-15);
        assert!((mean(|class| class.precision) - metric("macro_precision")).abs() < 1e-15);
        assert!((mean(|class| class.auroc.unwrap()) - metric("auroc")).abs() < 1e-15);
        assert_eq!(scores.iter().map(|class| class.support).collect::<Vec<_>>(), [2, 2, 1]);
    }
}
