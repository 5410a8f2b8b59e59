//! Statistics of a layer's merge weights, by source.

/// Statistics of the merge weights w of one source in one layer, over the layer's kernels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceStatistics {
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation (n − 1), for at least two kernels.
    pub std: Option<f64>,
    /// Minimum.
    pub min: f64,
    /// Maximum.
    pub max: f64,
    /// Fraction of the kernels, in [0, 1], for which this source has the largest |w|. On ties, the sources split the
    /// kernel equally, so that shares sum to 1.
    pub share: f64,
    /// Mean of |w_i| / Σ_j |w_j| over the kernels; equal fractions where all weights are 0.
    pub fraction: f64,
}

/// Statistics of each source. `weights` are `[sources][kernels]`, with at least one kernel.
///
/// NaN weights make the statistics that depend on them NaN.
pub fn statistics(weights: &[Vec<f32>]) -> Vec<SourceStatistics> {
    let kernels = weights.first().map_or(0, Vec::len);
    let parts: Vec<Vec<Part>> = (0..kernels).map(|kernel| parts(weights, kernel)).collect();
    let of_source = |(source, weights): (usize, &Vec<f32>)| {
        let weights: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
        let (mean, std) = mean_and_std(&weights);
        let mean_of = |part: fn(&Part) -> f64| {
            parts.iter().map(|of_kernel| part(&of_kernel[source])).sum::<f64>() / kernels as f64
        };
        SourceStatistics {
            mean,
            std,
            min: extreme(&weights, f64::min),
            max: extreme(&weights, f64::max),
            share: mean_of(|part| part.share),
            fraction: mean_of(|part| part.fraction),
        }
    };
    weights.iter().enumerate().map(of_source).collect()
}

/// A source's part of one kernel.
struct Part {
    share: f64,
    fraction: f64,
}

fn parts(weights: &[Vec<f32>], kernel: usize) -> Vec<Part> {
    let sizes: Vec<f64> = weights.iter().map(|of_source| f64::from(of_source[kernel]).abs()).collect();
    let total: f64 = sizes.iter().sum();
    if !total.is_finite() {
        return sizes.iter().map(|_| Part { share: f64::NAN, fraction: f64::NAN }).collect();
    }
    let largest = extreme(&sizes, f64::max);
    let equals = sizes.iter().filter(|&&size| size == largest).count() as f64;
    let part = |&size: &f64| Part {
        share: if size == largest { 1.0 / equals } else { 0.0 },
        fraction: if total > 0.0 { size / total } else { 1.0 / sizes.len() as f64 },
    };
    sizes.iter().map(part).collect()
}

/// Mean and sample standard deviation; none of a single value.
pub(crate) fn mean_and_std(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt()))
}

/// Propagates NaN, which `f64::min` and `f64::max` ignore.
fn extreme(values: &[f64], better: fn(f64, f64) -> f64) -> f64 {
    let pick = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { better(a, b) };
    values.iter().copied().reduce(pick).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// NumPy: `w.mean(1), w.std(1, ddof=1), w.min(1), w.max(1), (abs(w) / abs(w).sum(0)).mean(1)`
    #[test]
    fn known_weights_have_known_statistics() {
        let [a, b] = statistics(&[vec![1.0, 0.5, -1.0, 0.25], vec![0.0, 0.5, 3.0, -0.75]])[..] else {
            panic!("two sources")
        };
        assert_eq!((a.mean, a.min, a.max), (0.1875, -1.0, 1.0));
        assert_eq!((b.mean, b.min, b.max), (0.6875, -0.75, 3.0));
        assert!((a.std.unwrap() - 0.850_857_410_694_255_7).abs() < 1e-15, "{a:?}");
        assert!((b.std.unwrap() - 1.625).abs() < 1e-15, "{b:?}");
        // The first kernel is a's, the second is both's, the others are b's.
        assert_eq!((a.share, b.share), (0.375, 0.625));
        assert_eq!((a.fraction, b.fraction), (0.5, 0.5));
    }

    #[test]
    fn one_kernel_has_no_spread_and_kernels_of_zero_weight_are_shared() {
        let one = statistics(&[vec![0.0], vec![0.0], vec![-0.0]]);
        for of_source in one {
            assert_eq!((of_source.std, of_source.share, of_source.fraction), (None, 1.0 / 3.0, 1.0 / 3.0));
        }
    }

    #[test]
    fn nan_is_propagated() {
        let of = statistics(&[vec![1.0, f32::NAN], vec![0.5, 0.25]]);
        assert!(of[0].mean.is_nan() && of[0].min.is_nan() && of[0].max.is_nan(), "{of:?}");
        assert!(of.iter().all(|of| of.share.is_nan() && of.fraction.is_nan()), "{of:?}");
        assert_eq!(of[1].mean, 0.375);
    }

    proptest! {
        #[test]
        fn shares_and_fractions_add_up_to_one(
            weights in (1usize..4, 1usize..9).prop_flat_map(|(sources, kernels)| {
                prop::collection::vec(prop::collection::vec(-2f32..2.0, kernels), sources)
            })
        ) {
            let of = statistics(&weights);
            let total = |part: fn(&SourceStatistics) -> f64| of.iter().map(part).sum::<f64>();
            prop_assert!((total(|of| of.share) - 1.0).abs() < 1e-12);
            prop_assert!((total(|of| of.fraction) - 1.0).abs() < 1e-12);
            prop_assert!(of.iter().all(|of| of.min <= of.mean + 1e-6 && of.mean <= of.max + 1e-6));
        }
    }
}
