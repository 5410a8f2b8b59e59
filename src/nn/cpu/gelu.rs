//! The Gaussian error linear unit.

use super::{Real, widest, written_by_pieces};

/// Elements per task.
const PIECE: usize = 1 << 14;

/// x · Φ(x), with Φ the standard normal CDF.
pub(crate) fn forward<T: Real>(x: &[T]) -> Vec<T> {
    let fill = |i: usize, y: &mut [T]| widest(piece_forward, (&x[i * PIECE..][..y.len()], y));
    // SAFETY: every element is written.
    unsafe { written_by_pieces(x.len(), PIECE, fill) }
}

/// Gradient of [`forward`]: gy · (Φ(x) + x · φ(x)), with φ the standard normal density.
pub(crate) fn gradient<T: Real>(x: &[T], gy: &[T]) -> Vec<T> {
    let fill = |i: usize, gx: &mut [T]| {
        let range = i * PIECE..i * PIECE + gx.len();
        widest(piece_gradient, (&x[range.clone()], &gy[range], gx));
    };
    // SAFETY: every element is written.
    unsafe { written_by_pieces(x.len(), PIECE, fill) }
}

#[inline(always)]
fn piece_forward<T: Real>((x, y): (&[T], &mut [T])) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = *x * distribution(*x);
    }
}

#[inline(always)]
fn piece_gradient<T: Real>((x, gy, gx): (&[T], &[T], &mut [T])) {
    let scale = T::from_f64(0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2);
    for ((gx, x), gy) in gx.iter_mut().zip(x).zip(gy) {
        let density = scale * (T::from_f64(-0.5) * *x * *x).exp();
        *gx = *gy * (distribution(*x) + *x * density);
    }
}

#[inline(always)]
fn distribution<T: Real>(x: T) -> T {
    let half = T::from_f64(0.5);
    half + half * (x * T::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erf()
}
