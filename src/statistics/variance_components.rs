//! Variance components of scores in which two factors are crossed, such as source networks and seeds:
//! x_ij = μ + a_i + b_j + e_ij with independent effects of variances σ_a², σ_b² and σ_e² (Searle, Casella, and McCulloch,
//! Variance Components, 1992).
//!
//! Half the squared difference of two scores has the mean σ_b² + σ_e² if they share i alone, σ_a² + σ_e² if they share j
//! alone, and σ_a² + σ_b² + σ_e² if they share neither. Means over all such pairs therefore estimate the components
//! without bias, with or without missing scores. Without missing ones they are the estimates of the analysis of variance.

use std::collections::BTreeMap;

/// The level of each of two factors.
pub type Place = [usize; 2];

/// A part of the variance of a mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    /// The variance, not negative.
    pub(super) variance: f64,
    /// Its degrees of freedom.
    pub(super) freedom: f64,
}

/// The places of the scores of a design.
#[derive(Clone, Debug)]
pub(super) struct Design<'a> {
    places: &'a [Place],
    /// Number of scores at each level of each factor; empty for a factor with one level, which has no effect.
    counts: [BTreeMap<usize, usize>; 2],
}

impl<'a> Design<'a> {
    /// The design of scores at these places, each of which occurs once.
    pub(super) fn new(places: &'a [Place]) -> Self {
        let counts = [0, 1].map(|factor| {
            let mut counts = BTreeMap::new();
            places.iter().for_each(|place| *counts.entry(place[factor]).or_insert(0) += 1);
            if counts.len() > 1 { counts } else { BTreeMap::new() }
        });
        Self { places, counts }
    }

    /// Number of scores.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Number of levels of each factor.
    fn levels(&self) -> [usize; 2] {
        self.counts.each_ref().map(|counts| counts.len().max(1))
    }

    /// Whether two scores are at the same level of a factor that has an effect.
    fn share(&self, factor: usize, a: Place, b: Place) -> bool {
        !self.counts[factor].is_empty() && a[factor] == b[factor]
    }

    /// Mean over pairs of scores of half their squared difference, by what they share; `None` without such pairs.
    fn half_squares(&self, scores: &[f64], shares: [bool; 2]) -> Option<f64> {
        let what_is_shared = |a: &Place, b: &Place| [0, 1].map(|factor| self.share(factor, *a, *b));
        half_squares(scores, self.places, |a, b| what_is_shared(a, b) == shares)
    }

    /// Σ n_i² / n² over the levels of a factor: the variance of the mean per σ².
    fn weight(&self, factor: usize) -> f64 {
        let squares: usize = self.counts[factor].values().map(|count| count * count).sum();
        squares as f64 / (self.len() * self.len()) as f64
    }

    /// Sum over the levels of a factor of a function of the positions of their scores.
    fn over_levels(&self, factor: usize, of: impl Fn(&[usize]) -> f64) -> f64 {
        let at = |level: &usize| -> Vec<usize> {
            (0..self.len()).filter(|&position| self.places[position][factor] == *level).collect()
        };
        self.counts[factor].keys().map(|level| of(&at(level))).sum()
    }

    /// The parts of the variance of the mean of the scores that the factors and the rest have: of one factor, or of
    /// single scores that share no level, S² / n alone. `None` if there are too few scores to tell the parts apart.
    ///
    /// Negative estimates count as 0, so the sum is too large rather than too small.
    pub(super) fn parts(&self, scores: &[f64]) -> Option<Vec<Part>> {
        let n = self.len() as f64;
        let pairs = |shares| self.half_squares(scores, shares);
        let all = pairs([false, false])?;
        let (first, second) = match (pairs([true, false]), pairs([false, true])) {
            (None, None) => return Some(vec![Part { variance: all / n, freedom: n - 1.0 }]),
            (Some(shares_first), Some(shares_second)) => (all - shares_first, all - shares_second),
            _ => return None,
        };
        let [a, b] = self.levels().map(|levels| levels as f64);
        let rest = Part { variance: (all - first - second) / n, freedom: n - a - b + 1.0 };
        let first = Part { variance: first * self.weight(0), freedom: a - 1.0 };
        let second = Part { variance: second * self.weight(1), freedom: b - 1.0 };
        let parts = [first, second, rest].map(|part| Part { variance: part.variance.max(0.0), ..part });
        (rest.freedom >= 1.0).then(|| parts.to_vec())
    }

    /// Mean covariance of two scores that share no level: of what all scores have in common, such as the images.
    /// `resamples[i]` are the scores at place i in each resample, all of one length; the variance of a single score.
    pub(super) fn common_variance<V: AsRef<[f64]>>(&self, resamples: &[V]) -> Option<f64> {
        let of = |positions: &[usize]| variance_of_sum(resamples, positions);
        let everything: Vec<usize> = (0..self.len()).collect();
        let n = self.len();
        if n == 1 {
            return Some(of(&everything));
        }
        let single: f64 = (0..n).map(|position| of(&[position])).sum();
        // inclusion and exclusion: all pairs, without those that share a level, each score with itself removed once
        let mut sum = of(&everything);
        let factors: Vec<usize> = (0..2).filter(|&factor| !self.counts[factor].is_empty()).collect();
        let mut pairs = n * n;
        if factors.len() == 2 {
            sum += single;
            pairs += n;
        }
        for &factor in &factors {
            sum -= self.over_levels(factor, of);
            pairs -= self.counts[factor].values().map(|count| count * count).sum::<usize>();
        }
        (pairs > 0).then(|| sum / pairs as f64)
    }
}

/// Mean of half the squared difference of scores, over the pairs of places that are asked for; `None` without such
/// pairs.
fn half_squares<P>(scores: &[f64], places: &[P], is_asked_for: impl Fn(&P, &P) -> bool) -> Option<f64> {
    let (mut sum, mut pairs) = (0.0, 0_usize);
    for (i, a) in places.iter().enumerate() {
        for (j, _) in places.iter().enumerate().skip(i + 1).filter(|(_, b)| is_asked_for(a, b)) {
            sum += (scores[i] - scores[j]).powi(2) / 2.0;
            pairs += 1;
        }
    }
    (pairs > 0).then(|| sum / pairs as f64)
}

/// The variance over resamples (n − 1) of the sum of the scores at some positions.
fn variance_of_sum<V: AsRef<[f64]>>(resamples: &[V], positions: &[usize]) -> f64 {
    let count = positions.first().map_or(0, |&position| resamples[position].as_ref().len());
    let sums = (0..count).map(|r| positions.iter().map(|&position| resamples[position].as_ref()[r]).sum());
    let sums: Vec<f64> = sums.collect();
    let mean = sums.iter().sum::<f64>() / count as f64;
    sums.iter().map(|sum| (sum - mean).powi(2)).sum::<f64>() / (count as f64 - 1.0)
}

/// Standard deviation of one score of crossed factors, √(σ_a² + σ_b² + …): of the pairs of scores that are at different
/// levels of every factor that varies, half the mean squared difference. For one factor this is the sample standard
/// deviation. `None` without such pairs.
pub fn standard_deviation(scores: &[f64], places: &[Vec<usize>]) -> Option<f64> {
    let factors = places.first().map_or(0, Vec::len);
    let varies = |&factor: &usize| places.iter().any(|place| place[factor] != places[0][factor]);
    let varying: Vec<usize> = (0..factors).filter(varies).collect();
    let differ = |a: &Vec<usize>, b: &Vec<usize>| varying.iter().all(|&factor| a[factor] != b[factor]);
    half_squares(scores, places, differ).map(f64::sqrt)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn of_one_factor_the_variance_is_s_squared_by_n() {
        let scores = [0.1, 0.4, 0.3, 0.6];
        let places: Vec<Place> = (0..4).map(|i| [0, i]).collect();
        let parts = Design::new(&places).parts(&scores).unwrap();
        let square = scores.iter().map(|score| (score - 0.35_f64).powi(2)).sum::<f64>() / 3.0;
        assert!((parts[0].variance - square / 4.0).abs() < 1e-12 && parts[0].freedom == 3.0, "{parts:?}");
        assert_eq!(parts.len(), 1);
    }

    #[test]
    fn a_factor_without_effect_has_no_part_and_the_other_all() {
        let places: Vec<Place> = (0..3).flat_map(|i| (0..4).map(move |j| [i, j])).collect();
        let scores: Vec<f64> = places.iter().map(|place| [0.5, 0.7, 0.9][place[0]]).collect();
        let parts = Design::new(&places).parts(&scores).unwrap();
        assert!((parts[0].variance - 0.04 / 3.0).abs() < 1e-12, "{parts:?}");
        assert!(parts[1].variance < 1e-12 && parts[2].variance < 1e-12, "{parts:?}");
        assert_eq!([parts[0].freedom, parts[1].freedom, parts[2].freedom], [2.0, 3.0, 6.0]);
        // a copy of each score for each level of the second factor does not make the spread smaller
        let wide: Vec<Vec<usize>> = places.iter().map(|place| place.to_vec()).collect();
        assert!((standard_deviation(&scores, &wide).unwrap() - 0.2).abs() < 1e-12);
    }

    #[test]
    fn what_all_scores_share_is_their_covariance() {
        let shared = [0.0, 1.0, 2.0, 5.0];
        let places: Vec<Place> = (0..3).flat_map(|i| (0..2).map(move |j| [i, j])).collect();
        let resamples = vec![shared; 6];
        let variance = shared.iter().map(|value| (value - 2.0_f64).powi(2)).sum::<f64>() / 3.0;
        assert!((Design::new(&places).common_variance(&resamples).unwrap() - variance).abs() < 1e-12);
        let of_first = |place: &Place| {
            [[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0], [1.0, -1.0, -1.0, 1.0]][place[0]]
        };
        let resamples: Vec<[f64; 4]> = places.iter().map(of_first).collect();
        assert!(Design::new(&places).common_variance(&resamples).unwrap().abs() < 1e-12, "of levels alone");
    }

    proptest! {
        #[test]
        fn one_factor_has_the_sample_standard_deviation(scores in prop::collection::vec(-1.0..1.0, 2..20)) {
            let places: Vec<Vec<usize>> = (0..scores.len()).map(|i| vec![i, 3]).collect();
            let n = scores.len() as f64;
            let mean = scores.iter().sum::<f64>() / n;
            let square = scores.iter().map(|score: &f64| (score - mean).powi(2)).sum::<f64>() / (n - 1.0);
            prop_assert!((standard_deviation(&scores, &places).unwrap() - square.sqrt()).abs() < 1e-9);
        }

        #[test]
        fn parts_are_not_negative(
            scores in prop::collection::vec(-1.0..1.0, 12), missing in prop::collection::btree_set(0..12_usize, 0..3)
        ) {
            let kept = (0..12).filter(|i| !missing.contains(i));
            let (places, scores): (Vec<Place>, Vec<f64>) = kept.map(|i| ([i / 4, i % 4], scores[i])).unzip();
            for part in Design::new(&places).parts(&scores).unwrap() {
                prop_assert!(part.variance >= 0.0 && part.freedom >= 1.0, "{:?}", part);
            }
        }
    }
}
