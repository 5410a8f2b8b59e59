//! Batch normalisation over the rows of a `[rows, channels]` matrix, with an optional residual addition
//! and relu in the same pass.

use rayon::prelude::*;

use super::simd;

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
pub(crate) fn moments(x: &[f32], channels: usize) -> Moments {
    let pieces: Vec<(usize, Vec<f32>, Vec<f32>)> =
        x.par_chunks(piece_len(channels)).map(|piece| piece_moments(piece, channels)).collect();
    let mut mean = vec![0f64; channels];
    let mut squares = vec![0f64; channels];
    let mut count = 0f64;
    for (rows, piece_mean, piece_squares) in pieces {
        let rows = rows as f64;
        let total = count + rows;
        for c in 0..channels {
            let delta = f64::from(piece_mean[c]) - mean[c];
            mean[c] += delta * rows / total;
            squares[c] += f64::from(piece_squares[c]) + delta * delta * count * rows / total;
        }
        count = total;
    }
    let variance = squares.into_iter().map(|s| s / count).collect();
    Moments { mean, variance }
}

/// Rows, mean and sum of squared deviations of one piece.
fn piece_moments(piece: &[f32], channels: usize) -> (usize, Vec<f32>, Vec<f32>) {
    let rows = piece.len() / channels;
    let mut mean = vec![0f32; channels];
    let mut squares = vec![0f32; channels];
    simd(|| {
        for row in piece.chunks_exact(channels) {
            mean.iter_mut().zip(row).for_each(|(m, x)| *m += x);
        }
        let share = 1.0 / rows as f32;
        mean.iter_mut().for_each(|m| *m *= share);
        for row in piece.chunks_exact(channels) {
            for ((s, x), m) in squares.iter_mut().zip(row).zip(&mean) {
                *s += (x - m) * (x - m);
            }
        }
    });
    (rows, mean, squares)
}

/// y = x · scale + shift (+ residual), then relu if asked.
pub(crate) fn apply(
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    residual: Option<&[f32]>,
    relu: bool,
) -> Vec<f32> {
    let channels = scale.len();
    let mut y = vec![0f32; x.len()];
    let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
    let len = piece_len(channels);
    y.par_chunks_mut(len).enumerate().for_each(|(i, y)| {
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
    });
    y
}

/// The larger of the two; a NaN stays a NaN, so that a diverged loss is seen.
#[inline(always)]
fn above(value: f32, floor: f32) -> f32 {
    if value < floor { floor } else { value }
}

/// The gradient that passes a relu whose output is `y`: zero where `y` is zero, as PyTorch has it.
pub(crate) fn relu_gradient(y: &[f32], gy: &[f32]) -> Vec<f32> {
    let mut g = vec![0f32; gy.len()];
    g.par_chunks_mut(PIECE).enumerate().for_each(|(i, g)| {
        let start = i * PIECE;
        let (y, gy) = (&y[start..start + g.len()], &gy[start..start + g.len()]);
        simd(|| {
            for ((g, y), gy) in g.iter_mut().zip(y).zip(gy) {
                *g = if *y > 0.0 { *gy } else { 0.0 };
            }
        });
    });
    g
}

/// A gradient that passes a relu with output `y` on its way, if there is one.
#[derive(Clone, Copy)]
pub(crate) struct Gradient<'a> {
    pub(crate) g: &'a [f32],
    pub(crate) y: Option<&'a [f32]>,
}

impl<'a> Gradient<'a> {
    /// Its part at `start..start + len`; without a relu, `y` is `g` and is not looked at.
    fn piece(&self, start: usize, len: usize) -> (&'a [f32], &'a [f32]) {
        let g = &self.g[start..start + len];
        (g, self.y.map_or(g, |y| &y[start..start + len]))
    }
}

#[inline(always)]
fn passed<const RELU: bool>(g: f32, y: f32) -> f32 {
    if RELU && y <= 0.0 { 0.0 } else { g }
}

/// Σ g and Σ g · (x − mean) · inverse_std of each channel, in f64 over pieces in order: the gradients of
/// the shift and the scale.
pub(crate) fn sums(
    gradient: Gradient<'_>,
    x: &[f32],
    mean: &[f32],
    inverse_std: &[f32],
) -> (Vec<f64>, Vec<f64>) {
    let channels = mean.len();
    let len = piece_len(channels);
    let piece = if gradient.y.is_some() { piece_sums::<true> } else { piece_sums::<false> };
    let pieces: Vec<(Vec<f32>, Vec<f32>)> = x
        .par_chunks(len)
        .enumerate()
        .map(|(i, x)| piece(gradient.piece(i * len, x.len()), x, mean))
        .collect();
    let mut shift = vec![0f64; channels];
    let mut scale = vec![0f64; channels];
    for (piece_shift, piece_scale) in pieces {
        for c in 0..channels {
            shift[c] += f64::from(piece_shift[c]);
            scale[c] += f64::from(piece_scale[c]) * f64::from(inverse_std[c]);
        }
    }
    (shift, scale)
}

/// Σ g and Σ g · (x − mean) of one piece.
fn piece_sums<const RELU: bool>((g, y): (&[f32], &[f32]), x: &[f32], mean: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let channels = mean.len();
    let mut shift = vec![0f32; channels];
    let mut scale = vec![0f32; channels];
    simd(|| {
        let rows = g.chunks_exact(channels).zip(y.chunks_exact(channels)).zip(x.chunks_exact(channels));
        for ((g, y), x) in rows {
            for c in 0..channels {
                let g = passed::<RELU>(g[c], y[c]);
                shift[c] += g;
                scale[c] += g * (x[c] - mean[c]);
            }
        }
    });
    (shift, scale)
}

/// Factors of one channel each: a · g + b · x + c.
pub(crate) struct Combination {
    pub(crate) a: Vec<f32>,
    pub(crate) b: Vec<f32>,
    pub(crate) c: Vec<f32>,
}

/// a · g + b · x + c.
pub(crate) fn combine(gradient: Gradient<'_>, x: &[f32], factors: &Combination) -> Vec<f32> {
    let len = piece_len(factors.a.len());
    let mut out = vec![0f32; x.len()];
    let piece = if gradient.y.is_some() { piece_combine::<true> } else { piece_combine::<false> };
    out.par_chunks_mut(len).enumerate().for_each(|(i, out)| {
        let start = i * len;
        piece(gradient.piece(start, out.len()), &x[start..start + out.len()], factors, out);
    });
    out
}

fn piece_combine<const RELU: bool>(
    (g, y): (&[f32], &[f32]),
    x: &[f32],
    Combination { a, b, c }: &Combination,
    out: &mut [f32],
) {
    let channels = a.len();
    simd(|| {
        let inputs = g.chunks_exact(channels).zip(y.chunks_exact(channels)).zip(x.chunks_exact(channels));
        for (out, ((g, y), x)) in out.chunks_exact_mut(channels).zip(inputs) {
            for i in 0..channels {
                out[i] = a[i] * passed::<RELU>(g[i], y[i]) + b[i] * x[i] + c[i];
            }
        }
    });
}
