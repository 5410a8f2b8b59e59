//! Reductions of rows, with one partial result per lane of the widest vector, combined in a fixed order.

use super::Real;

/// Number of lanes of the widest vector.
pub(crate) const LANES: usize = 16;

/// Sum of `f` over the pairs of two rows of equal length.
#[inline(always)]
pub(crate) fn sum<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::zero(); LANES];
    let (a_many, a_rest) = a.as_chunks::<LANES>();
    let (b_many, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_many.iter().zip(b_many) {
        for i in 0..LANES {
            lanes[i] += f(a[i], b[i]);
        }
    }
    for (i, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[i] += f(*a, *b);
    }
    combine(lanes, |a, b| a + b)
}

/// Maximum of a row; negative infinity if empty.
#[inline(always)]
pub(crate) fn largest<T: Real>(row: &[T]) -> T {
    let mut lanes = [T::from_f64(f64::NEG_INFINITY); LANES];
    let larger = |a: T, b: T| if b > a { b } else { a };
    let (many, rest) = row.as_chunks::<LANES>();
    for chunk in many {
        for i in 0..LANES {
            lanes[i] = larger(lanes[i], chunk[i]);
        }
    }
    for (i, number) in rest.iter().enumerate() {
        lanes[i] = larger(lanes[i], *number);
    }
    combine(lanes, larger)
}

#[inline(always)]
fn combine<T: Real>(mut lanes: [T; LANES], f: impl Fn(T, T) -> T) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = f(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_every_length_are_reduced_whole() {
        for len in 0..70 {
            let row: Vec<f64> = (0..len).map(|i| f64::from(i * 37 % 71) - 20.0).collect();
            assert_eq!(sum(&row, &row, |a, b| a + b), 2.0 * row.iter().sum::<f64>());
            assert_eq!(largest(&row), row.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        }
    }
}
