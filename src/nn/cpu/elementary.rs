//! exp and erf in a form that compilers turn into vector instructions.

/// e^x to within 2 ulp (the polynomial of Moshier's Cephes, `expf`). Clamped to e⁻⁸⁷ below -87 and to e⁸⁸ above 88.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    /// Added to a number below 2²², it leaves the nearest integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // A comparison rather than `clamp`, so that NaN is propagated.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + c;
    }
    let power_of_two = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    (p * r * r + r + 1.0) * power_of_two
}

/// The error function to within 4e-7: a rational function of x² with the coefficients of Eigen and XLA.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let x = if x < -4.0 { -4.0 } else { x };
    let x = if x > 4.0 { 4.0 } else { x };
    let square = x * x;
    let mut p = -2.726_142_3e-10;
    for c in [2.770_681_5e-8, -2.101_024e-6, -5.692_506_5e-5, -7.349_906e-4, -2.954_6e-3, -1.609_603_3e-2] {
        p = p * square + c;
    }
    let mut q = -1.456_607_2e-5;
    for c in [-2.133_740_5e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2] {
        q = q * square + c;
    }
    x * p / q
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points() -> impl Iterator<Item = f32> {
        (-8000..=8000).map(|i| i as f32 * 1e-2)
    }

    #[test]
    fn exp_agrees_with_f64() {
        for x in points() {
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) - exact).abs() <= 2.5e-7 * exact, "{x}: {} {exact}", exp(x));
        }
        assert!(exp(f32::NAN).is_nan() && exp(-1e9) < 1e-37 && exp(0.0) == 1.0);
    }

    #[test]
    fn erf_agrees_with_f64() {
        for x in points().map(|x| x * 0.1) {
            let exact = candle_core::cpu::erf::erf_f64(f64::from(x));
            assert!((f64::from(erf(x)) - exact).abs() <= 4e-7, "{x}: {} {exact}", erf(x));
        }
        assert!(erf(f32::NAN).is_nan() && erf(0.0) == 0.0);
    }
}
