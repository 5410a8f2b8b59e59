//! The signed-rank test of paired differences (Wilcoxon 1945). As in the original, zero differences are dropped.

use super::ranks::ties;

/// Largest number of nonzero differences for which the exact distribution is computed.
const MOST_COUNTED: usize = 50;

/// Two-sided p value: exact for up to 50 nonzero differences, with or without ties; normal approximation for more.
/// 1 if all differences are 0.
pub fn p(differences: &[f64]) -> f64 {
    let signed = SignedRanks::new(differences);
    if signed.ranks.len() <= MOST_COUNTED { signed.exact() } else { signed.approximate() }
}

/// [`p`] by the normal approximation, for any number of differences; with a correction for ties, without a continuity
/// correction.
pub fn approximate_p(differences: &[f64]) -> f64 {
    SignedRanks::new(differences).approximate()
}

/// The smallest p attainable with this number of pairs: all differences have the same sign.
pub fn smallest_p(pairs: usize) -> f64 {
    0.5_f64.powi(pairs.saturating_sub(1).try_into().unwrap_or(i32::MAX))
}

/// Ranks of |difference|, doubled so that the mean rank of a tie is an integer.
struct SignedRanks {
    ranks: Vec<usize>,
    /// Sum of the ranks of positive differences.
    positive: usize,
    /// Size of each tie.
    ties: Vec<usize>,
}

impl SignedRanks {
    fn new(differences: &[f64]) -> Self {
        let differences: Vec<f64> =
            differences.iter().copied().filter(|&difference| difference != 0.0).collect();
        let sizes: Vec<f64> = differences.iter().map(|difference| difference.abs()).collect();
        let mut signed = Self { ranks: Vec::new(), positive: 0, ties: Vec::new() };
        for tie in ties(&sizes) {
            let rank = 2 * signed.ranks.len() + tie.len() + 1;
            signed.positive += tie.iter().filter(|&&i| differences[i] > 0.0).count() * rank;
            signed.ranks.extend(tie.iter().map(|_| rank));
            signed.ties.push(tie.len());
        }
        signed
    }

    /// Fraction of sign assignments that are at least as extreme.
    fn exact(&self) -> f64 {
        let total: usize = self.ranks.iter().sum();
        // number of subsets of the ranks with each sum: at most 2^50, which f64 represents exactly
        let mut ways = vec![0.0; total + 1];
        ways[0] = 1.0;
        for &rank in &self.ranks {
            for sum in (rank..=total).rev() {
                ways[sum] += ways[sum - rank];
            }
        }
        let fewer = self.positive.min(total - self.positive);
        let extreme: f64 = ways[..=fewer].iter().sum();
        (2.0 * extreme / ways.iter().sum::<f64>()).min(1.0)
    }

    fn approximate(&self) -> f64 {
        let n = self.ranks.len() as f64;
        let cubed = |tie: &usize| (*tie as f64).powi(3) - *tie as f64;
        let variance =
            (n * (n + 1.0) * (2.0 * n + 1.0) - self.ties.iter().map(cubed).sum::<f64>() / 2.0) / 24.0;
        let away = self.positive as f64 / 2.0 - n * (n + 1.0) / 4.0;
        if away == 0.0 { 1.0 } else { libm::erfc(away.abs() / (2.0 * variance).sqrt()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn few_pairs_cannot_give_a_small_p() {
        assert_eq!(p(&[0.1, 0.2, 0.3]), 0.25);
        for n in 1..20 {
            let differences: Vec<f64> = (1..=n).map(|i| f64::from(i) / 7.0).collect();
            assert_eq!(p(&differences), smallest_p(differences.len()), "{n}");
        }
        assert_eq!((smallest_p(0), smallest_p(1)), (1.0, 1.0));
    }

    #[test]
    fn zeros_are_left_out_and_nothing_else_is_no_difference() {
        assert_eq!(p(&[0.0, 0.1, 0.0, 0.2, 0.3]), p(&[0.1, 0.2, 0.3]));
        assert_eq!((p(&[0.0; 4]), p(&[]), approximate_p(&[0.0; 4])), (1.0, 1.0, 1.0));
    }

    /// Enumerates all 2^n sign assignments.
    fn counted_one_by_one(differences: &[f64]) -> f64 {
        let sizes: Vec<f64> = differences.iter().map(|d| d.abs()).filter(|&d| d != 0.0).collect();
        let ranks = super::super::ranks::mean_ranks(&sizes);
        let half = ranks.iter().sum::<f64>() / 2.0;
        let away = |positive: &dyn Fn(usize) -> bool| {
            let sum: f64 = ranks.iter().enumerate().filter(|(i, _)| positive(*i)).map(|(_, rank)| rank).sum();
            (sum - half).abs()
        };
        let nonzero: Vec<f64> = differences.iter().copied().filter(|&d| d != 0.0).collect();
        let seen = away(&|i| nonzero[i] > 0.0);
        let all = 1_usize << ranks.len();
        let extreme = (0..all).filter(|signs| away(&|i| signs >> i & 1 == 1) >= seen - 1e-9).count();
        extreme as f64 / all as f64
    }

    proptest! {
        #[test]
        fn exact_counts_every_way_with_ties_and_zeros_too(
            differences in prop::collection::vec(-4..4_i8, 0..9)
        ) {
            let differences: Vec<f64> = differences.into_iter().map(|d| f64::from(d) / 10.0).collect();
            prop_assert!((p(&differences) - counted_one_by_one(&differences)).abs() < 1e-12);
        }

        #[test]
        fn p_is_a_probability_that_neither_order_nor_direction_changes(
            differences in prop::collection::vec(-1.0..1.0, 0..70)
        ) {
            let found = p(&differences);
            prop_assert!((0.0..=1.0).contains(&found));
            let turned: Vec<f64> = differences.iter().rev().map(|difference| -difference).collect();
            prop_assert!((p(&turned) - found).abs() < 1e-12);
        }
    }
}
