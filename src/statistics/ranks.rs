//! Ranks, with ties sharing their mean.

/// Values whose relative difference is below this are equal up to rounding.
const ROUNDING: f64 = 1e-10;

/// Rank of each value, starting from 1 for the smallest; ties share their mean rank.
pub fn mean_ranks(values: &[f64]) -> Vec<f64> {
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for tie in ties(values) {
        let rank = before as f64 + (tie.len() + 1) as f64 / 2.0;
        tie.iter().for_each(|&position| ranks[position] = rank);
        before += tie.len();
    }
    ranks
}

/// Positions of the values in ascending order, grouped by ties.
pub(super) fn ties(values: &[f64]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let equal = |&a: &usize, &b: &usize| {
        let (a, b) = (values[a], values[b]);
        b - a <= ROUNDING * a.abs().max(b.abs())
    };
    order.chunk_by(equal).map(<[usize]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ties_share_their_mean_rank() {
        assert_eq!(mean_ranks(&[0.3, 0.1, 0.1 + 0.2, -2.0]), [3.5, 2.0, 3.5, 1.0]);
        assert_eq!(mean_ranks(&[0.0, -0.0]), [1.5, 1.5]);
        assert!(mean_ranks(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn ranks_sum_to_the_same_and_follow_the_values(values in prop::collection::vec(-3..3_i8, 0..20)) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let ranks = mean_ranks(&values);
            let n = values.len() as f64;
            prop_assert_eq!(ranks.iter().sum::<f64>(), n * (n + 1.0) / 2.0);
            for (i, a) in values.iter().enumerate() {
                for (j, b) in values.iter().enumerate() {
                    prop_assert_eq!(a < b, ranks[i] < ranks[j]);
                }
            }
        }
    }
}
