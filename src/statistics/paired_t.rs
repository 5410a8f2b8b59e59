//! The paired t test (Student 1908).

use super::{Interval, Undetermined, student};

/// A standard error smaller than this fraction of the differences is rounding.
const ROUNDING: f64 = 1e-10;

/// Statistics of the mean of paired differences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedT {
    mean: f64,
    /// Standard error of the mean.
    error: f64,
    /// Degrees of freedom: the number of differences minus 1.
    freedom: f64,
}

impl PairedT {
    /// The test of paired differences.
    ///
    /// # Errors
    /// There are fewer than two differences, or all are equal and not 0: without variance there is no test.
    pub fn new(differences: &[f64]) -> Result<Self, Undetermined> {
        if differences.len() < 2 {
            return Err(Undetermined::OnePair);
        }
        let n = differences.len() as f64;
        let freedom = n - 1.0;
        let mean = differences.iter().sum::<f64>() / n;
        let squares: f64 = differences.iter().map(|difference| (difference - mean).powi(2)).sum();
        let largest = differences.iter().fold(0.0_f64, |largest, difference| largest.max(difference.abs()));
        let spread = (squares / freedom).sqrt();
        let varies = largest == 0.0 || spread > ROUNDING * largest;
        varies.then(|| Self { mean, error: spread / n.sqrt(), freedom }).ok_or(Undetermined::NoVariance)
    }

    /// The t statistic: mean / standard error.
    pub fn t(&self) -> f64 {
        if self.mean == 0.0 { 0.0 } else { self.mean / self.error }
    }

    /// Two-sided p value: probability of a mean at least this far from 0 if the true mean is 0.
    pub fn p(&self) -> f64 {
        student::two_sided(self.t(), self.freedom)
    }

    /// Confidence interval of the true mean.
    pub fn interval(&self, confidence: f64) -> Interval {
        let half = student::two_sided_quantile(1.0 - confidence, self.freedom) * self.error;
        Interval { low: self.mean - half, high: self.mean + half }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_difference_at_all_has_p_1_and_no_spread_no_test() {
        let none = PairedT::new(&[0.0; 3]).unwrap();
        assert_eq!((none.p(), none.interval(0.95)), (1.0, Interval { low: 0.0, high: 0.0 }));
        for few in [&[0.1][..], &[]] {
            assert_eq!(PairedT::new(few), Err(Undetermined::OnePair));
        }
        for equal in [&[0.1, 0.1, 0.1][..], &[0.3 - 0.2, 0.2 - 0.1]] {
            assert_eq!(PairedT::new(equal), Err(Undetermined::NoVariance));
        }
    }

    proptest! {
        #[test]
        fn p_is_a_probability_and_below_alpha_where_the_interval_leaves_out_0(
            differences in prop::collection::vec(-1.0..1.0, 2..20), confidence in 0.5..0.99
        ) {
            let Ok(test) = PairedT::new(&differences) else { return Ok(()) };
            let (p, Interval { low, high }) = (test.p(), test.interval(confidence));
            prop_assert!((0.0..=1.0).contains(&p) && low <= high);
            let alpha = 1.0 - confidence;
            prop_assume!((p - alpha).abs() > 1e-9);
            prop_assert_eq!(p < alpha, low > 0.0 || high < 0.0);
        }
    }
}
