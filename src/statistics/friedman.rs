//! Friedman's test: whether methods have different ranks over several data sets.
//!
//! J. Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006), section 3.2.2.

use crate::ranks::{mean_ranks, ties};
use crate::student::incomplete_beta;

/// q_0.05 of Nemenyi's test for 2, 3, … methods: the quantile of the studentized range for infinite degrees of freedom,
/// divided by √2 (as in Demšar 2006, table 5a; these by SciPy 1.17).
const NEMENYI: [f64; 29] = [
    1.9600, 2.3437, 2.5690, 2.7278, 2.8497, 2.9483, 3.0309, 3.1017, 3.1637, 3.2187, 3.2680, 3.3127, 3.3536,
    3.3912, 3.4260, 3.4584, 3.4887, 3.5171, 3.5438, 3.5690, 3.5929, 3.6156, 3.6373, 3.6579, 3.6776, 3.6964,
    3.7145, 3.7319, 3.7486,
];

/// The ranks of methods over data sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Friedman {
    /// Mean rank of each method, 1 being the best; ties share their mean.
    pub mean_ranks: Vec<f64>,
    /// Number of data sets.
    pub datasets: usize,
    /// χ²_F, corrected for ties.
    square: f64,
}

impl Friedman {
    /// Ranks of `scores[data set][method]`, of which larger ones are better. `None` for fewer than two data sets or
    /// methods, or if all methods tie everywhere.
    pub fn new(scores: &[Vec<f64>]) -> Option<Self> {
        let (n, k) = (scores.len(), scores.first()?.len());
        if n < 2 || k < 2 || scores.iter().any(|row| row.len() != k) {
            return None;
        }
        let negative: Vec<Vec<f64>> =
            scores.iter().map(|row| row.iter().map(|score| -score).collect()).collect();
        let mut sums = vec![0.0; k];
        for row in &negative {
            sums.iter_mut().zip(mean_ranks(row)).for_each(|(sum, rank)| *sum += rank);
        }
        let mean_ranks: Vec<f64> = sums.iter().map(|sum| sum / n as f64).collect();
        let cubes = |size: usize| (size * size * size - size) as f64;
        let tied: f64 = negative.iter().flat_map(|row| ties(row)).map(|tie| cubes(tie.len())).sum();
        let correction = 1.0 - tied / (n as f64 * cubes(k));
        let (n, k) = (n as f64, k as f64);
        let spread: f64 = mean_ranks.iter().map(|rank| (rank - (k + 1.0) / 2.0).powi(2)).sum();
        let square = 12.0 * n / (k * (k + 1.0)) * spread / correction;
        (correction > 0.0).then_some(Self { mean_ranks, datasets: scores.len(), square })
    }

    /// P(F ≥ F_F) with F_F = (N − 1) χ²_F / (N (k − 1) − χ²_F), k − 1 and (k − 1)(N − 1) degrees of freedom (Iman and
    /// Davenport 1980).
    pub fn p(&self) -> f64 {
        let (n, k) = (self.datasets as f64, self.mean_ranks.len() as f64);
        let rest = n * (k - 1.0) - self.square;
        if rest <= 1e-9 {
            return 0.0;
        }
        let f = (n - 1.0) * self.square / rest;
        let (above, below) = (k - 1.0, (k - 1.0) * (n - 1.0));
        let sum = below + above * f;
        incomplete_beta(below / sum, above * f / sum, below / 2.0, above / 2.0)
    }

    /// The smallest difference of two mean ranks that Nemenyi's test calls significant at 0.05: q √(k (k + 1) / 6 N).
    /// `None` for more than 30 methods.
    pub fn critical_difference(&self) -> Option<f64> {
        let k = self.mean_ranks.len();
        let q = NEMENYI.get(k.checked_sub(2)?)?;
        Some(q * ((k * (k + 1)) as f64 / (6 * self.datasets) as f64).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_ranked_has_no_test() {
        assert_eq!(Friedman::new(&[]), None);
        assert_eq!(Friedman::new(&[vec![1.0, 2.0]]), None, "one data set");
        assert_eq!(Friedman::new(&[vec![1.0, 1.0], vec![2.0, 2.0]]), None, "nothing but ties");
        assert_eq!(Friedman::new(&[vec![1.0, 2.0], vec![1.0]]), None);
    }

    #[test]
    fn the_same_order_everywhere_has_the_smallest_p() {
        let found = Friedman::new(&[vec![3.0, 2.0, 1.0], vec![0.9, 0.8, 0.1], vec![7.0, 6.0, 5.0]]).unwrap();
        assert_eq!(found.mean_ranks, [1.0, 2.0, 3.0]);
        assert_eq!(found.p(), 0.0);
        let many = vec![(0..31).map(f64::from).collect(); 2];
        assert_eq!(Friedman::new(&many).unwrap().critical_difference(), None);
    }
}
