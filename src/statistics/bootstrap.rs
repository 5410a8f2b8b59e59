//! The bootstrap: variability across images and seeds, estimated by resampling with replacement (Efron and Tibshirani
//! 1993).

use rand::Rng;

use super::Interval;
use rng::{Purpose, rng};

/// Differences closer to 0 than this are rounding errors.
const ROUNDING: f64 = 1e-12;

/// Positions of one resample: `n` draws with replacement from `0..n`. A function of its arguments alone, so that
/// everything with the same `what` is resampled together and differences are paired.
pub fn draw(n: usize, resample: usize, what: u64) -> Vec<usize> {
    let mut random = rng(0, Purpose::Bootstrap, resample as u64, what);
    (0..n).map(|_| random.random_range(0..n as u64) as usize).collect()
}

/// Number of times each of `n` positions was drawn.
pub fn counts(n: usize, drawn: &[usize]) -> Vec<u32> {
    let mut counts = vec![0; n];
    drawn.iter().for_each(|&position| counts[position] += 1);
    counts
}

/// Mean of each resample: `values[i][r]` is the value of item `i` in resample `r`, `draws[r]` the items drawn in it.
/// NaN values are skipped; the mean is NaN if nothing else was drawn.
pub fn means<V: AsRef<[f64]>>(values: &[V], draws: &[Vec<usize>]) -> Vec<f64> {
    let mean = |(resample, drawn): (usize, &Vec<usize>)| {
        let drawn = drawn.iter().map(|&thing| values[thing].as_ref()[resample]);
        let add = |(sum, count): (f64, usize), value: f64| (sum + value, count + 1);
        let (sum, count) = drawn.filter(|value| !value.is_nan()).fold((0.0, 0), add);
        sum / count as f64
    };
    draws.iter().enumerate().map(mean).collect()
}

/// Percentile interval: from the (1 − confidence) / 2 quantile to the (1 + confidence) / 2 quantile. NaN (a score that
/// is undefined in a resample) is skipped; `None` if nothing is left.
pub fn percentile_interval(values: &[f64], confidence: f64) -> Option<Interval> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let tail = (1.0 - confidence) / 2.0;
    Some(Interval { low: quantile(&sorted, tail)?, high: quantile(&sorted, 1.0 - tail)? })
}

/// Quantile of sorted values, with linear interpolation: numpy's default, type 7 of Hyndman and Fan (1996).
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let at = share * sorted.len().checked_sub(1)? as f64;
    let below = sorted[at.floor() as usize];
    Some(below + (sorted[at.ceil() as usize] - below) * at.fract())
}

/// Two-sided p value of a difference from its resamples: 2 · (min(#{d ≤ 0}, #{d ≥ 0}) + 1) / (n + 1), at most 1; the
/// added 1 keeps p above 0 (Davison and Hinkley 1997, section 4.2). NaN is skipped; `None` if nothing is left.
pub fn two_sided_p(differences: &[f64]) -> Option<f64> {
    let defined = || differences.iter().filter(|difference| !difference.is_nan());
    let below = defined().filter(|&&difference| difference <= ROUNDING).count();
    let above = defined().filter(|&&difference| difference >= -ROUNDING).count();
    let all = defined().count();
    (all > 0).then(|| (2.0 * (below.min(above) + 1) as f64 / (all + 1) as f64).min(1.0))
}

/// The smallest p attainable with this number of resamples.
pub fn smallest_p(resamples: usize) -> f64 {
    (2.0 / (resamples + 1) as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn items_with_the_same_name_are_drawn_together() {
        assert_eq!(draw(50, 3, 7), draw(50, 3, 7));
        assert_ne!(draw(50, 3, 7), draw(50, 4, 7));
        assert_ne!(draw(50, 3, 7), draw(50, 3, 8));
        assert_eq!(counts(50, &draw(50, 3, 7)).iter().sum::<u32>(), 50);
    }

    #[test]
    fn quantiles_lie_between_neighbors() {
        let values: Vec<f64> = (0..=40).rev().map(f64::from).collect();
        let interval = percentile_interval(&values, 0.9).unwrap();
        assert!((interval.low - 2.0).abs() < 1e-12 && (interval.high - 38.0).abs() < 1e-12, "{interval:?}");
        let one = percentile_interval(&[f64::NAN, 0.5], 0.95).unwrap();
        assert_eq!(one, Interval { low: 0.5, high: 0.5 });
        assert_eq!(percentile_interval(&[f64::NAN], 0.95), None);
        assert_eq!(percentile_interval(&[], 0.95), None);
    }

    #[test]
    fn a_difference_of_one_sign_has_the_smallest_p_and_no_difference_has_1() {
        assert_eq!(two_sided_p(&[0.1; 99]), Some(0.02));
        assert_eq!(two_sided_p(&[-0.1; 99]), Some(smallest_p(99)));
        assert_eq!(two_sided_p(&[0.0; 99]), Some(1.0));
        assert_eq!(two_sided_p(&[0.1, -0.1, 0.1, f64::NAN]), Some(1.0));
        assert_eq!(two_sided_p(&[f64::NAN]), None);
    }

    /// The mean of 64 normal values has standard deviation 1/8: 95 % intervals contain the true mean 95 % of the time.
    #[test]
    fn intervals_of_a_mean_cover_as_often_as_they_say() {
        use rand_distr::{Distribution, StandardNormal};
        let covers = |repeat: u64| {
            let mut random = rng(1, Purpose::Bootstrap, 0, repeat);
            let values: Vec<f64> = (0..64).map(|_| StandardNormal.sample(&mut random)).collect();
            let mean = |drawn: Vec<usize>| drawn.iter().map(|&i| values[i]).sum::<f64>() / 64.0;
            let means: Vec<f64> = (0..400).map(|resample| mean(draw(64, resample, repeat))).collect();
            let interval = percentile_interval(&means, 0.95).unwrap();
            interval.low <= 0.0 && interval.high >= 0.0
        };
        let covered = (0..300).filter(|&repeat| covers(repeat)).count();
        assert!((270..=297).contains(&covered), "{covered} of 300");
    }

    #[test]
    fn a_mean_is_over_what_was_drawn_and_is_defined() {
        let values = [vec![1.0, f64::NAN, f64::NAN], vec![3.0, 5.0, f64::NAN]];
        let means = means(&values, &[vec![0, 0, 1, 1], vec![0, 1], vec![0, 1]]);
        assert_eq!(means[..2], [2.0, 5.0]);
        assert!(means[2].is_nan());
    }

    proptest! {
        #[test]
        fn an_interval_is_in_order_and_within_the_values(
            values in prop::collection::vec(-1.0..1.0, 1..50), confidence in 0.01..0.99
        ) {
            let Interval { low, high } = percentile_interval(&values, confidence).unwrap();
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            prop_assert!(least <= low && low <= high && high <= most);
            let wider = percentile_interval(&values, confidence + 0.01).unwrap();
            prop_assert!(wider.low <= low && high <= wider.high);
        }

        #[test]
        fn p_is_a_probability_whichever_way_the_difference_is_taken(
            differences in prop::collection::vec(-1.0..1.0, 1..50)
        ) {
            let p = two_sided_p(&differences).unwrap();
            let turned: Vec<f64> = differences.iter().map(|difference| -difference).collect();
            prop_assert!(smallest_p(differences.len()) <= p && p <= 1.0);
            prop_assert_eq!(two_sided_p(&turned), Some(p));
        }
    }
}
