//! Images ordered by a score, one class against the rest.

use super::Predictions;

/// Images grouped by equal score, best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    ties: Vec<Tie>,
}

/// Images with equal score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tie {
    /// Number of images of the class.
    pub positives: usize,
    /// Number of other images.
    pub negatives: usize,
}

/// Positions of images by descending score; shared by the rankings of all resamples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    images: Vec<usize>,
    /// End of each group of equal score in `images`.
    ends: Vec<usize>,
}

impl Order {
    /// Sorts images by score. O(n log n).
    pub(super) fn new(scores: &[f64]) -> Self {
        let mut images: Vec<usize> = (0..scores.len()).collect();
        images.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let ends = images.chunk_by(|&a, &b| scores[a] == scores[b]).scan(0, |end, group| {
            *end += group.len();
            Some(*end)
        });
        Self { ends: ends.collect(), images }
    }

    /// The ranking, given whether each image is of the class and its multiplicity. O(n).
    pub(super) fn ranking(
        &self,
        of_class: impl Fn(usize) -> bool,
        count: impl Fn(usize) -> usize,
    ) -> Ranking {
        let mut ties = Vec::with_capacity(self.ends.len());
        let mut start = 0;
        for &end in &self.ends {
            let mut tie = Tie::default();
            for &image in &self.images[start..end] {
                let side = if of_class(image) { &mut tie.positives } else { &mut tie.negatives };
                *side += count(image);
            }
            if tie != Tie::default() {
                ties.push(tie);
            }
            start = end;
        }
        Ranking { ties }
    }
}

impl Ranking {
    /// Ranks pairs (score, whether the image is of the class). O(n log n).
    pub fn new(images: impl Iterator<Item = (f64, bool)>) -> Self {
        let (scores, positive): (Vec<f64>, Vec<bool>) = images.unzip();
        Order::new(&scores).ranking(|image| positive[image], |_| 1)
    }

    /// Groups of equal score, best first.
    pub fn ties(&self) -> &[Tie] {
        &self.ties
    }

    /// Number of images of the class.
    pub fn positives(&self) -> usize {
        self.ties.iter().map(|tie| tie.positives).sum()
    }

    /// Number of images of other classes.
    pub fn negatives(&self) -> usize {
        self.ties.iter().map(|tie| tie.negatives).sum()
    }
}

/// One-vs-rest score: of class 1 if there are two classes, otherwise the mean over classes, as always for a multi-label
/// data set. `None` if a class is absent from the labels.
pub(super) fn one_vs_rest(predictions: &Predictions, score: fn(&Ranking) -> Option<f64>) -> Option<f64> {
    match (predictions.confusion(), predictions.rankings()) {
        (Some(confusion), _) if !confusion.every_class_is_present() => None,
        (Some(_), [_, of_class_1]) => score(of_class_1),
        (_, rankings) => macro_mean(rankings, score),
    }
}

/// Mean of a score over classes; `None` if any is undefined.
fn macro_mean(rankings: &[Ranking], score: fn(&Ranking) -> Option<f64>) -> Option<f64> {
    super::mean(rankings.iter().map(score).collect::<Option<Vec<f64>>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_form_one_group_whatever_their_order() {
        let ranking = Ranking::new([(0.0, true), (0.5, false), (-0.0, false), (0.5, true)].into_iter());
        let tie = Tie { positives: 1, negatives: 1 };
        assert_eq!(ranking.ties(), [tie, tie]);
    }
}
