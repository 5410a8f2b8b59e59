//! Student's t distribution.

/// P(|T| ≥ t) with ν = `freedom` degrees of freedom: I_x(ν/2, 1/2) at x = ν / (ν + t²) (DLMF 8.17, Abramowitz and
/// Stegun 26.5.27).
pub(super) fn two_sided(t: f64, freedom: f64) -> f64 {
    let square = t * t;
    if square.is_infinite() {
        return 0.0;
    }
    incomplete_beta(freedom / (freedom + square), square / (freedom + square), freedom / 2.0, 0.5)
}

/// The t with P(|T| ≥ t) = `probability`.
pub(super) fn two_sided_quantile(probability: f64, freedom: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while two_sided(high, freedom) > probability && high < 1e150 {
        (low, high) = (high, 2.0 * high);
    }
    // each step halves the bracket, whose upper end is twice the lower end
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if two_sided(middle, freedom) > probability { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The regularized incomplete beta function I_x(a, b); `rest` is 1 − x to full precision.
pub(super) fn incomplete_beta(x: f64, rest: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || rest <= 0.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(rest, x, b, a);
    }
    let ln_beta = libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b);
    (a * x.ln() + b * rest.ln() - ln_beta).exp() / (a * continued_fraction(x, a, b))
}

/// 1 + d_1 / (1 + d_2 / (1 + …)) of DLMF 8.17.22, evaluated front to back (Lentz 1976). Converges fast for
/// x ≤ (a + 1) / (a + b + 2).
fn continued_fraction(x: f64, a: f64, b: f64) -> f64 {
    let coefficient = |j: u32| {
        let m = f64::from(j / 2);
        let lower = (a + 2.0 * m - f64::from(1 - j % 2)) * (a + 2.0 * m + f64::from(j % 2));
        let upper = if j.is_multiple_of(2) { m * (b - m) } else { -(a + m) * (a + b + m) };
        upper * x / lower
    };
    let away_from_0 = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let (mut value, mut numerator, mut denominator) = (1.0, 1.0, 0.0);
    for j in 1..10_000 {
        denominator = 1.0 / away_from_0(1.0 + coefficient(j) * denominator);
        numerator = away_from_0(1.0 + coefficient(j) / numerator);
        let factor: f64 = numerator * denominator;
        value *= factor;
        if (factor - 1.0).abs() < 1e-16 {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-13 * expected.abs(), "{found}, not {expected}");
    }

    #[test]
    fn one_and_two_degrees_of_freedom_have_closed_forms() {
        for t in [1e-8_f64, 0.1, 0.7, 1.0, 3.0, 20.0, 1e4] {
            assert_close(two_sided(t, 1.0), 2.0 * (1.0 / t).atan() / std::f64::consts::PI);
            let root = (2.0 + t * t).sqrt();
            assert_close(two_sided(t, 2.0), 2.0 / (root * (root + t)));
        }
        assert_eq!((two_sided(0.0, 3.0), two_sided(f64::INFINITY, 3.0)), (1.0, 0.0));
    }

    #[test]
    fn a_quantile_is_where_the_probability_is() {
        for freedom in [1.0, 2.0, 4.0, 30.0, 1e5] {
            for probability in [1e-6, 0.05, 0.5, 0.99] {
                assert!(
                    (two_sided(two_sided_quantile(probability, freedom), freedom) / probability - 1.0).abs()
                        < 1e-9
                );
            }
        }
    }
}
