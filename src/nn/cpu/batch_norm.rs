//! Batch normalisation over the rows of a `[rows, channels]` matrix, with an optional residual addition
//! and relu in the same pass.

use rayon::prelude::*;

use super::{Real, simd, written_by_pieces};

/// Numbers that a task handles: a quarter of a mebibyte.
const PIECE: usize = 1 << 16;

/// Mean and biased variance of each channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moments {
    pub(crate) mean: Vec<f64>,
    pub(crate) variance: Vec<f64>,
}

fn piece_len(channels: usize) -> usize {
    (PIECE / channels).max(1) * channels
}

/// Mean and variance of each channel of `x`, by two passes over each cached piece, pieces combined in
/// order by Chan's formula in f64.
pub(crate) fn moments<T: Real>(x: &[T], channels: usize) -> Moments {
    let pieces: Vec<(usize, Vec<T>, Vec<T>)> =
        x.par_chunks(piece_len(channels)).map(|piece| piece_moments(piece, channels)).collect();
    let mut mean = vec![0f64; channels];
    let mut squares = vec![0f64; channels];
    let mut count = 0f64;
    for (rows, piece_mean, piece_squares) in pieces {
        let rows = rows as f64;
        let total = count + rows;
        for c in 0..channels {
            let delta = piece_mean[c].to_f64() - mean[c];
            mean[c] += delta * rows / total;
            squares[c] += piece_squares[c].to_f64() + delta * delta * count * rows / total;
        }
        count = total;
    }
    let variance = squares.into_iter().map(|s| s / count).collect();
    Moments { mean, variance }
}

/// Rows, mean and sum of squared deviations of one piece.
fn piece_moments<T: Real>(piece: &[T], channels: usize) -> (usize, Vec<T>, Vec<T>) {
    let rows = piece.len() / channels;
    let mut mean = vec![T::zero(); channels];
    let mut squares = vec![T::zero(); channels];
    simd(|| {
        for row in piece.chunks_exact(channels) {
            mean.iter_mut().zip(row).for_each(|(m, x)| *m += *x);
        }
        let share = T::from_f64(1.0 / rows as f64);
        mean.iter_mut().for_each(|m| *m *= share);
        for row in piece.chunks_exact(channels) {
            for ((s, x), m) in squares.iter_mut().zip(row).zip(&mean) {
                *s += (*x - *m) * (*x - *m);
            }
        }
    });
    (rows, mean, squares)
}

/// y = x · scale + shift (+ residual), then relu if asked.
pub(crate) fn apply<T: Real>(
    x: &[T],
    scale: &[T],
    shift: &[T],
    residual: Option<&[T]>,
    relu: bool,
) -> Vec<T> {
    let channels = scale.len();
    let floor = T::from_f64(if relu { 0.0 } else { f64::NEG_INFINITY });
    let len = piece_len(channels);
    let fill = |i: usize, y: &mut [T]| {
        let start = i * len;
        let x = &x[start..start + y.len()];
        let residual = residual.map(|r| &r[start..start + y.len()]);
        simd(|| match residual {
            None => {
                for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                    for c in 0..channels {
                        y[c] = above(x[c] * scale[c] + shift[c], floor);
                    }
                }
            }
            Some(residual) => {
                let rows = y.chunks_exact_mut(channels).zip(x.chunks_exact(channels));
                for ((y, x), r) in rows.zip(residual.chunks_exact(channels)) {
                    for c in 0..channels {
                        y[c] = above(x[c] * scale[c] + shift[c] + r[c], floor);
                    }
                }
            }
        });
    };
    // SAFETY: every row of the result is written.
    unsafe { written_by_pieces(x.len(), len, fill) }
}

/// The larger of the two; a NaN stays a NaN, so that a diverged loss is seen.
#[inline(always)]
fn above<T: Real>(value: T, floor: T) -> T {
    if value < floor { floor } else { value }
}

/// The gradient that passes a relu whose output is `y`: zero where `y` is zero, as PyTorch has it.
pub(crate) fn relu_gradient<T: Real>(y: &[T], gy: &[T]) -> Vec<T> {
    let fill = |i: usize, g: &mut [T]| {
        let start = i * PIECE;
        let (y, gy) = (&y[start..start + g.len()], &gy[start..start + g.len()]);
        simd(|| {
            for ((g, y), gy) in g.iter_mut().zip(y).zip(gy) {
                *g = if *y > T::zero() { *gy } else { T::zero() };
            }
        });
    };
    // SAFETY: every number of the result is written.
    unsafe { written_by_pieces(gy.len(), PIECE, fill) }
}

/// A gradient that passes a relu with output `y` on its way, if there is one.
#[derive(Clone, Copy)]
pub(crate) struct Gradient<'a, T> {
    pub(crate) g: &'a [T],
    pub(crate) y: Option<&'a [T]>,
}

impl<'a, T> Gradient<'a, T> {
    /// Its part at `start..start + len`; without a relu, `y` is `g` and is not looked at.
    fn piece(&self, start: usize, len: usize) -> (&'a [T], &'a [T]) {
        let g = &self.g[start..start + len];
        (g, self.y.map_or(g, |y| &y[start..start + len]))
    }
}

#[inline(always)]
fn passed<T: Real, const RELU: bool>(g: T, y: T) -> T {
    if RELU && y <= T::zero() { T::zero() } else { g }
}

/// Σ g and Σ g · (x − mean) · inverse_std of each channel, in f64 over pieces in order: the gradients of
/// the shift and the scale.
pub(crate) fn sums<T: Real>(
    gradient: Gradient<'_, T>,
    x: &[T],
    mean: &[T],
    inverse_std: &[T],
) -> (Vec<f64>, Vec<f64>) {
    let channels = mean.len();
    let len = piece_len(channels);
    let piece = if gradient.y.is_some() { piece_sums::<T, true> } else { piece_sums::<T, false> };
    let pieces: Vec<(Vec<T>, Vec<T>)> = x
        .par_chunks(len)
        .enumerate()
        .map(|(i, x)| piece(gradient.piece(i * len, x.len()), x, mean))
        .collect();
    let mut shift = vec![0f64; channels];
    let mut scale = vec![0f64; channels];
    for (piece_shift, piece_scale) in pieces {
        for c in 0..channels {
            shift[c] += piece_shift[c].to_f64();
            scale[c] += piece_scale[c].to_f64() * inverse_std[c].to_f64();
        }
    }
    (shift, scale)
}

/// Σ g and Σ g · (x − mean) of one piece.
fn piece_sums<T: Real, const RELU: bool>((g, y): (&[T], &[T]), x: &[T], mean: &[T]) -> (Vec<T>, Vec<T>) {
    let channels = mean.len();
    let mut shift = vec![T::zero(); channels];
    let mut scale = vec![T::zero(); channels];
    simd(|| {
        let rows = g.chunks_exact(channels).zip(y.chunks_exact(channels)).zip(x.chunks_exact(channels));
        for ((g, y), x) in rows {
            for c in 0..channels {
                let g = passed::<T, RELU>(g[c], y[c]);
                shift[c] += g;
                scale[c] += g * (x[c] - mean[c]);
            }
        }
    });
    (shift, scale)
}

/// Factors of one channel each: a · g + b · x + c.
pub(crate) struct Combination<T> {
    pub(crate) a: Vec<T>,
    pub(crate) b: Vec<T>,
    pub(crate) c: Vec<T>,
}

/// a · g + b · x + c.
pub(crate) fn combine<T: Real>(gradient: Gradient<'_, T>, x: &[T], factors: &Combination<T>) -> Vec<T> {
    let len = piece_len(factors.a.len());
    let piece = if gradient.y.is_some() { piece_combine::<T, true> } else { piece_combine::<T, false> };
    let fill = |i: usize, out: &mut [T]| {
        let start = i * len;
        piece(gradient.piece(start, out.len()), &x[start..start + out.len()], factors, out);
    };
    // SAFETY: every row of the result is written.
    unsafe { written_by_pieces(x.len(), len, fill) }
}

fn piece_combine<T: Real, const RELU: bool>(
    (g, y): (&[T], &[T]),
    x: &[T],
    Combination { a, b, c }: &Combination<T>,
    out: &mut [T],
) {
    let channels = a.len();
    simd(|| {
        let inputs = g.chunks_exact(channels).zip(y.chunks_exact(channels)).zip(x.chunks_exact(channels));
        for (out, ((g, y), x)) in out.chunks_exact_mut(channels).zip(inputs) {
            for i in 0..channels {
                out[i] = a[i] * passed::<T, RELU>(g[i], y[i]) + b[i] * x[i] + c[i];
            }
        }
    });
}
