//! Layer normalization of the rows of a `[rows, channels]` matrix.

use rayon::prelude::*;

use super::lanes::sum;
use super::{Real, widest, written_by_pieces};

/// Rows per task.
const ROWS: usize = 64;

/// y = (x − mean) / √(variance + eps) · weight + bias, with each row's own mean and variance.
pub(crate) fn forward<T: Real>(x: &[T], weight: &[T], bias: &[T], eps: f64) -> Vec<T> {
    let piece = ROWS * weight.len();
    let fill =
        |i: usize, y: &mut [T]| widest(piece_forward, (&x[i * piece..][..y.len()], weight, bias, eps, y));
    // SAFETY: every row of the result is written.
    unsafe { written_by_pieces(x.len(), piece, fill) }
}

#[inline(always)]
fn piece_forward<T: Real>((x, weight, bias, eps, y): (&[T], &[T], &[T], f64, &mut [T])) {
    let channels = weight.len();
    for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
        let (mean, inverse_std) = statistics(x, eps);
        for i in 0..channels {
            y[i] = (x[i] - mean) * inverse_std * weight[i] + bias[i];
        }
    }
}

/// Gradients with respect to `x`, `weight` and `bias`. With x̂ the normalized row and g = gy · weight:
/// gx = (g − mean(g) − x̂ · mean(g x̂)) / std.
pub(crate) fn gradients<T: Real>(x: &[T], weight: &[T], gy: &[T], eps: f64) -> (Vec<T>, Vec<T>, Vec<T>) {
    let (channels, piece) = (weight.len(), ROWS * weight.len());
    let pieces = x.len().div_ceil(piece.max(1));
    let mut sums = vec![T::zero(); 2 * channels * pieces];
    let mut gx = vec![T::zero(); x.len()];
    gx.par_chunks_mut(piece).zip(sums.par_chunks_mut(2 * channels)).enumerate().for_each(
        |(i, (gx, sums))| {
            let range = i * piece..i * piece + gx.len();
            widest(piece_gradients, (&x[range.clone()], weight, &gy[range], eps, gx, sums));
        },
    );
    let mut totals = vec![0f64; 2 * channels];
    for sums in sums.chunks_exact(2 * channels) {
        totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum.to_f64());
    }
    let totals: Vec<T> = totals.into_iter().map(T::from_f64).collect();
    (gx, totals[..channels].to_vec(), totals[channels..].to_vec())
}

type Piece<'a, T> = (&'a [T], &'a [T], &'a [T], f64, &'a mut [T], &'a mut [T]);

#[inline(always)]
fn piece_gradients<T: Real>((x, weight, gy, eps, gx, sums): Piece<'_, T>) {
    let channels = weight.len();
    let (gweight, gbias) = sums.split_at_mut(channels);
    let rows = x.chunks_exact(channels).zip(gy.chunks_exact(channels));
    for ((x, gy), gx) in rows.zip(gx.chunks_exact_mut(channels)) {
        let (mean, inverse_std) = statistics(x, eps);
        for i in 0..channels {
            let normalized = (x[i] - mean) * inverse_std;
            gweight[i] += gy[i] * normalized;
            gbias[i] += gy[i];
            gx[i] = gy[i] * weight[i];
        }
        let share = T::from_f64(1.0 / channels as f64);
        let g = sum(gx, gx, |g, _| g) * share;
        let gn = sum(gx, x, |g, x| g * (x - mean)) * inverse_std * share;
        for i in 0..channels {
            gx[i] = (gx[i] - g - (x[i] - mean) * inverse_std * gn) * inverse_std;
        }
    }
}

/// Mean and 1 / √(variance + eps) of a row.
#[inline(always)]
fn statistics<T: Real>(x: &[T], eps: f64) -> (T, T) {
    let count = x.len() as f64;
    let mean = T::from_f64(sum(x, x, |x, _| x).to_f64() / count);
    let variance = sum(x, x, |x, _| (x - mean) * (x - mean)).to_f64() / count;
    (mean, T::from_f64(1.0 / (variance + eps).sqrt()))
}
