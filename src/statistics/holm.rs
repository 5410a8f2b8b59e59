//! Holm's correction for several comparisons (Holm 1979).

/// Adjusted p values: rejecting where "adjusted p < alpha" keeps the family-wise error rate at most alpha. The k-th
/// smallest of m p values is multiplied by m − k + 1, then made no smaller than the previous one and at most 1.
pub fn adjusted(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut least = 0.0_f64;
    for (smaller, &position) in order.iter().enumerate() {
        least = least.max((p.len() - smaller) as f64 * p[position]).min(1.0);
        adjusted[position] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_smallest_is_multiplied_the_most() {
        assert_eq!(adjusted(&[0.25, 0.0625, 0.5]), [0.5, 0.1875, 0.5]);
        assert_eq!(adjusted(&[0.5, 0.5]), [1.0, 1.0]);
        assert!(adjusted(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn adjusted_ps_are_no_smaller_and_keep_their_order(p in prop::collection::vec(0.0..=1.0, 1..30)) {
            let adjusted = adjusted(&p);
            for (i, a) in p.iter().enumerate() {
                prop_assert!(*a <= adjusted[i] && adjusted[i] <= 1.0);
                for (j, b) in p.iter().enumerate() {
                    prop_assert!(a > b || adjusted[i] <= adjusted[j]);
                }
            }
        }
    }
}
