//! Batch normalization over the rows of a `[rows, channels]` matrix, with an optional residual addition and ReLU in the
//! same pass.

use rayon::prelude::*;

use super::{Real, widest, written_by_pieces};

/// Elements per task: a quarter of a mebibyte.
const PIECE: usize = 1 << 16;
/// Elements that are copied and then mapped: a part of the first-level cache.
const BLOCK: usize = 1 << 11;

/// Mean and biased variance of each channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moments {
    pub(crate) mean: Vec<f64>,
    pub(crate) variance: Vec<f64>,
}

fn piece_len(channels: usize) -> usize {
    (PIECE / channels).max(1) * channels
}

/// Mean and variance of each channel of `x`: two passes over each cached piece, with pieces combined in order by Chan's
/// formula in f64.
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

/// Number of rows, mean and sum of squared deviations of one piece.
fn piece_moments<T: Real>(piece: &[T], channels: usize) -> (usize, Vec<T>, Vec<T>) {
    let rows = piece.len() / channels;
    let mut mean = vec![T::zero(); channels];
    let mut squares = vec![T::zero(); channels];
    widest(add_moments, (piece, &mut *mean, &mut *squares));
    (rows, mean, squares)
}

/// Adds the mean of the rows, then the sum of their squared deviations.
#[inline(always)]
fn add_moments<T: Real>((piece, mean, squares): (&[T], &mut [T], &mut [T])) {
    let channels = mean.len();
    for row in piece.chunks_exact(channels) {
        mean.iter_mut().zip(row).for_each(|(m, x)| *m += *x);
    }
    let share = T::from_f64(1.0 / (piece.len() / channels) as f64);
    mean.iter_mut().for_each(|m| *m *= share);
    for row in piece.chunks_exact(channels) {
        for ((s, x), m) in squares.iter_mut().zip(row).zip(&*mean) {
            *s += (*x - *m) * (*x - *m);
        }
    }
}

/// y = x · scale + shift (+ residual), then ReLU if asked, of whole pixels.
pub(crate) struct Map<'a, T> {
    pub(crate) scale: &'a [T],
    pub(crate) shift: &'a [T],
    pub(crate) residual: Option<&'a [T]>,
    pub(crate) relu: bool,
}

impl<T: Real> Map<'_, T> {
    /// Maps the elements of the result from `start` in place.
    pub(crate) fn map(&self, start: usize, y: &mut [T]) {
        let residual = self.residual.map(|r| &r[start..start + y.len()]);
        let floor = T::from_f64(if self.relu { 0.0 } else { f64::NEG_INFINITY });
        widest(map_rows, (y, (self.scale, self.shift), residual, floor));
    }

    /// The same of other elements: blocks are copied, and mapped while they are in the first-level cache.
    pub(crate) fn apply(&self, x: &[T]) -> Vec<T> {
        let channels = self.scale.len();
        let len = piece_len(channels);
        let block = (BLOCK / channels).max(1) * channels;
        let fill = |i: usize, y: &mut [T]| {
            for (j, y) in y.chunks_mut(block).enumerate() {
                let start = i * len + j * block;
                y.copy_from_slice(&x[start..start + y.len()]);
                self.map(start, y);
            }
        };
        // SAFETY: the blocks cover the piece, and each is written before it is mapped.
        unsafe { written_by_pieces(x.len(), len, fill) }
    }
}

type Rows<'a, T> = (&'a mut [T], (&'a [T], &'a [T]), Option<&'a [T]>, T);

#[inline(always)]
fn map_rows<T: Real>((y, (scale, shift), residual, floor): Rows<'_, T>) {
    let channels = scale.len();
    let rows = y.chunks_exact_mut(channels);
    match residual {
        None => {
            for y in rows {
                for c in 0..channels {
                    y[c] = above(y[c] * scale[c] + shift[c], floor);
                }
            }
        }
        Some(residual) => {
            for (y, r) in rows.zip(residual.chunks_exact(channels)) {
                for c in 0..channels {
                    y[c] = above(y[c] * scale[c] + shift[c] + r[c], floor);
                }
            }
        }
    }
}

/// The larger of the two; NaN is propagated, so that a diverged loss is noticed.
#[inline(always)]
fn above<T: Real>(value: T, floor: T) -> T {
    if value < floor { floor } else { value }
}

/// The gradient behind a ReLU with output `y`: 0 where `y` is 0, as in PyTorch.
pub(crate) fn relu_gradient<T: Real>(y: &[T], gy: &[T]) -> Vec<T> {
    let fill = |i: usize, g: &mut [T]| {
        let range = i * PIECE..i * PIECE + g.len();
        widest(piece_relu_gradient, (&y[range.clone()], &gy[range], g));
    };
    // SAFETY: every element of the result is written.
    unsafe { written_by_pieces(gy.len(), PIECE, fill) }
}

#[inline(always)]
fn piece_relu_gradient<T: Real>((y, gy, g): (&[T], &[T], &mut [T])) {
    for ((g, y), gy) in g.iter_mut().zip(y).zip(gy) {
        *g = if *y > T::zero() { *gy } else { T::zero() };
    }
}

/// A gradient, and the output `y` of the ReLU that it passes, if any.
#[derive(Clone, Copy)]
pub(crate) struct Gradient<'a, T> {
    pub(crate) g: &'a [T],
    pub(crate) y: Option<&'a [T]>,
}

impl<'a, T> Gradient<'a, T> {
    /// The part at `start..start + len`; without a ReLU, `y` is `g` and is unused.
    fn piece(&self, start: usize, len: usize) -> (&'a [T], &'a [T]) {
        let g = &self.g[start..start + len];
        (g, self.y.map_or(g, |y| &y[start..start + len]))
    }
}

#[inline(always)]
fn passed<T: Real, const RELU: bool>(g: T, y: T) -> T {
    if RELU && y <= T::zero() { T::zero() } else { g }
}

/// Σ g and Σ g · (x − mean) · inverse_std of each channel, in f64 over pieces in order: the gradients of shift and
/// scale.
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
fn piece_sums<T: Real, const RELU: bool>(gy: (&[T], &[T]), x: &[T], mean: &[T]) -> (Vec<T>, Vec<T>) {
    let mut shift = vec![T::zero(); mean.len()];
    let mut scale = vec![T::zero(); mean.len()];
    widest(add_sums::<T, RELU>, (gy, x, mean, &mut *shift, &mut *scale));
    (shift, scale)
}

type Sums<'a, T> = ((&'a [T], &'a [T]), &'a [T], &'a [T], &'a mut [T], &'a mut [T]);

#[inline(always)]
fn add_sums<T: Real, const RELU: bool>(((g, y), x, mean, shift, scale): Sums<'_, T>) {
    let channels = mean.len();
    let rows = g.chunks_exact(channels).zip(y.chunks_exact(channels)).zip(x.chunks_exact(channels));
    for ((g, y), x) in rows {
        for c in 0..channels {
            let g = passed::<T, RELU>(g[c], y[c]);
            shift[c] += g;
            scale[c] += g * (x[c] - mean[c]);
        }
    }
}

/// Per-channel coefficients of a · g + b · x + c.
pub(crate) struct Combination<T> {
    pub(crate) a: Vec<T>,
    pub(crate) b: Vec<T>,
    pub(crate) c: Vec<T>,
}

/// Computes a · g + b · x + c.
pub(crate) fn combine<T: Real>(gradient: Gradient<'_, T>, x: &[T], factors: &Combination<T>) -> Vec<T> {
    let len = piece_len(factors.a.len());
    let fill = |i: usize, out: &mut [T]| {
        let start = i * len;
        let args = (gradient.piece(start, out.len()), &x[start..start + out.len()], factors, out);
        match gradient.y {
            Some(_) => widest(piece_combine::<T, true>, args),
            None => widest(piece_combine::<T, false>, args),
        }
    };
    // SAFETY: every row of the result is written.
    unsafe { written_by_pieces(x.len(), len, fill) }
}

type Combine<'a, T> = ((&'a [T], &'a [T]), &'a [T], &'a Combination<T>, &'a mut [T]);

#[inline(always)]
fn piece_combine<T: Real, const RELU: bool>(((g, y), x, factors, out): Combine<'_, T>) {
    let (a, b, c) = (&factors.a[..], &factors.b[..], &factors.c[..]);
    let channels = a.len();
    let inputs = g.chunks_exact(channels).zip(y.chunks_exact(channels)).zip(x.chunks_exact(channels));
    for (out, ((g, y), x)) in out.chunks_exact_mut(channels).zip(inputs) {
        for i in 0..channels {
            out[i] = a[i] * passed::<T, RELU>(g[i], y[i]) + b[i] * x[i] + c[i];
        }
    }
}
