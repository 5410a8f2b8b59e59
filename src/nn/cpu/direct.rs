//! Convolution as matrix products on gathered patches (im2col), for every kernel, stride, dilation and
//! number of groups.
//!
//! A *line* is one output row of one image: `ow` pixels. A task handles a few lines, with a patch matrix
//! that fits the processor's second-level cache; a 1x1 convolution of stride 1 needs no patches at all.

use rayon::prelude::*;

use super::matmul::{Matrix, PANEL, Panels, pack_panel};
use super::scratch::Scratch;
use super::{ConvShape, Real, by_pieces, sum_in_order, written_by_pieces};

/// Numbers in a task's patch matrix: half a mebibyte.
const PATCH_BUDGET: usize = 1 << 17;

/// Kernels `[co, ci / groups, kh, kw]` as `[co, kh, kw, ci / groups]`, the order of a patch.
fn kernels_in_patch_order<T: Real>(weight: &[T], shape: &ConvShape) -> Vec<T> {
    let (channels, area) = (shape.ci_group(), shape.kh * shape.kw);
    let mut ordered = vec![T::zero(); weight.len()];
    let pairs = ordered.par_chunks_mut(channels * area).zip(weight.par_chunks(channels * area));
    pairs.for_each(|(to, from)| {
        for c in 0..channels {
            for tap in 0..area {
                to[tap * channels + c] = from[c * area + tap];
            }
        }
    });
    ordered
}

/// The same with a group's kernels side by side: the panels of `[kh · kw · ci / groups, co / groups]` for each group.
fn kernel_panels<T: Real>(weight: &[T], shape: &ConvShape) -> Vec<T> {
    let (patch, columns) = (shape.kernel_len(), shape.co_group());
    let ordered = kernels_in_patch_order(weight, shape);
    let panels = columns.div_ceil(PANEL);
    let mut beside = vec![T::zero(); shape.groups * Panels::<T>::len(columns, patch)];
    beside.par_chunks_mut(patch * PANEL).enumerate().for_each(|(i, panel)| {
        let kernels = Matrix::rows(&ordered[i / panels * columns * patch..], patch).transposed();
        pack_panel(kernels, i % panels * PANEL, columns, panel);
    });
    beside
}

/// The inverse of [`kernels_in_patch_order`].
fn kernels_from_patch_order<T: Real>(ordered: &[T], shape: &ConvShape) -> Vec<T> {
    let (channels, area) = (shape.ci_group(), shape.kh * shape.kw);
    let mut weight = vec![T::zero(); ordered.len()];
    let pairs = weight.par_chunks_mut(channels * area).zip(ordered.par_chunks(channels * area));
    pairs.for_each(|(to, from)| {
        for c in 0..channels {
            for tap in 0..area {
                to[c * area + tap] = from[tap * channels + c];
            }
        }
    });
    weight
}

impl ConvShape {
    fn is_pointwise(&self) -> bool {
        self.kh == 1 && self.kw == 1 && self.stride == 1 && self.padding == 0 && self.groups == 1
    }

    fn lines_per_task(&self) -> usize {
        let line = self.ow() * self.kernel_len();
        (PATCH_BUDGET / line).clamp(1, 1024 / self.ow().min(1024))
    }

    /// Input row or column of an output position and a tap, unless it falls into the padding.
    fn source(&self, position: usize, tap: usize, side: usize) -> Option<usize> {
        let padded = position * self.stride + tap * self.dilation;
        padded.checked_sub(self.padding).filter(|&i| i < side)
    }

    /// Where the taps of one kernel row stand in the input row `iy` (none: padding) and the output column `ox`:
    /// pieces (first tap, taps, first number of the input, if there is one) of neighbouring numbers. Taps that
    /// are not apart, of all channels, are one piece.
    fn pieces(&self, iy: Option<usize>, ox: usize) -> impl Iterator<Item = (usize, usize, Option<usize>)> {
        let joined = self.dilation == 1 && self.groups == 1;
        let mut tap = 0;
        std::iter::from_fn(move || {
            let first = (tap < self.kw).then_some(tap)?;
            let column = |tap| iy.and(self.source(ox, tap, self.w));
            let inside = column(first);
            tap += 1;
            while tap < self.kw && joined && column(tap).is_some() == inside.is_some() {
                tap += 1;
            }
            let start = iy.zip(inside).map(|(iy, ix)| (iy * self.w + ix) * self.ci);
            Some((first, tap - first, start))
        })
    }
}

/// Gather the patches of `lines` (counted over all images) for `group` into `patches`.
fn gather<T: Real>(
    x: &[T],
    shape: &ConvShape,
    lines: std::ops::Range<usize>,
    group: usize,
    patches: &mut [T],
) {
    let channels = shape.ci_group();
    let (oh, ow, patch) = (shape.oh(), shape.ow(), shape.kernel_len());
    let image_len = shape.h * shape.w * shape.ci;
    for (l, line) in lines.enumerate() {
        let (image, oy) = (line / oh, line % oh);
        let x = &x[image * image_len..][..image_len];
        for ky in 0..shape.kh {
            let row = shape.source(oy, ky, shape.h);
            for ox in 0..ow {
                let to = &mut patches[(l * ow + ox) * patch + ky * shape.kw * channels..];
                for (tap, taps, from) in shape.pieces(row, ox) {
                    let to = &mut to[tap * channels..][..taps * channels];
                    match from {
                        Some(from) => to.copy_from_slice(&x[from + group * channels..][..taps * channels]),
                        None => to.fill(T::zero()),
                    }
                }
            }
        }
    }
}

/// Add patches back to where [`gather`] took them from, within one image.
fn scatter_add<T: Real>(
    patches: &[T],
    shape: &ConvShape,
    lines: std::ops::Range<usize>,
    group: usize,
    x: &mut [T],
) {
    let channels = shape.ci_group();
    let (ow, patch) = (shape.ow(), shape.kernel_len());
    for (l, oy) in lines.enumerate() {
        for ky in 0..shape.kh {
            let Some(iy) = shape.source(oy, ky, shape.h) else { continue };
            for ox in 0..ow {
                let patch = &patches[(l * ow + ox) * patch + ky * shape.kw * channels..];
                for (tap, taps, to) in shape.pieces(Some(iy), ox) {
                    let Some(to) = to else { continue };
                    let to = &mut x[to + group * channels..][..taps * channels];
                    to.iter_mut().zip(&patch[tap * channels..]).for_each(|(sum, g)| *sum += *g);
                }
            }
        }
    }
}

/// `y[n, oh, ow, co]` of `x[n, h, w, ci]` and `weight[co, ci / groups, kh, kw]`.
pub(crate) fn forward<T: Real>(x: &[T], weight: &[T], shape: &ConvShape) -> Vec<T> {
    let (oh, ow, co, patch) = (shape.oh(), shape.ow(), shape.co, shape.kernel_len());
    let kernels = kernel_panels(weight, shape);
    let lines = shape.lines_per_task();
    let fill = |task: usize, y: &mut [T]| {
        let rows = y.len() / co;
        let first = task * lines;
        let group_len = Panels::<T>::len(shape.co_group(), patch);
        let mut patches = Scratch::new(if shape.is_pointwise() { 0 } else { rows * patch });
        for (group, kernels) in kernels.chunks_exact(group_len).enumerate() {
            let lhs = if shape.is_pointwise() {
                Matrix::rows(&x[first * ow * shape.ci..], shape.ci)
            } else {
                gather(x, shape, first..first + rows / ow, group, &mut patches);
                Matrix::rows(&patches, patch)
            };
            let kernels = Panels::packed(kernels, (patch, shape.co_group()));
            T::multiply(rows, &mut y[group * shape.co_group()..], co, lhs, kernels, false);
        }
    };
    // SAFETY: the products of all groups write every number of the result.
    unsafe { written_by_pieces(shape.n * oh * ow * co, lines * ow * co, fill) }
}

/// Gradient with respect to `x`, given that of `y`.
pub(crate) fn input_gradient<T: Real>(gy: &[T], weight: &[T], shape: &ConvShape) -> Vec<T> {
    let (oh, ow, co, patch) = (shape.oh(), shape.ow(), shape.co, shape.kernel_len());
    let kernels = kernels_in_patch_order(weight, shape);
    let image = shape.h * shape.w * shape.ci;
    let lines = shape.lines_per_task().min(oh);
    by_pieces(shape.n * image, image, |n, gx| {
        let gy = &gy[n * oh * ow * co..][..oh * ow * co];
        let mut patches = Scratch::new(if shape.is_pointwise() { 0 } else { lines * ow * patch });
        for first in (0..oh).step_by(lines) {
            let last = (first + lines).min(oh);
            let rows = (last - first) * ow;
            for group in 0..shape.groups {
                let kernels = Matrix::rows(&kernels[group * shape.co_group() * patch..], patch);
                let gy = Matrix::rows(&gy[first * ow * co + group * shape.co_group()..], co);
                let size = (rows, patch, shape.co_group());
                if shape.is_pointwise() {
                    T::matmul(size, &mut gx[first * ow * shape.ci..], shape.ci, gy, kernels, false);
                } else {
                    T::matmul(size, &mut patches, patch, gy, kernels, false);
                    scatter_add(&patches, shape, first..last, group, gx);
                }
            }
        }
    })
}

/// Gradient with respect to `weight`, given that of `y`. The images are cut into a number of parts that
/// depends on the shape alone; the parts' sums are added in order.
pub(crate) fn weight_gradient<T: Real>(x: &[T], gy: &[T], shape: &ConvShape) -> Vec<T> {
    let (oh, co, patch) = (shape.oh(), shape.co, shape.kernel_len());
    let parts = if co * patch > 1 << 18 { 4 } else { 16 };
    let total = shape.n * oh;
    let lines_per_part = total.div_ceil(parts).max(1);
    let starts: Vec<usize> = (0..total).step_by(lines_per_part).collect();
    let partial = starts.par_iter().map(|&start| {
        let mut sum = vec![T::zero(); co * patch];
        let end = (start + lines_per_part).min(total);
        for first in (start..end).step_by(shape.lines_per_task()) {
            let last = (first + shape.lines_per_task()).min(end);
            accumulate_weight_gradient(x, gy, shape, first..last, &mut sum);
        }
        sum
    });
    kernels_from_patch_order(&sum_in_order(partial.collect()), shape)
}

fn accumulate_weight_gradient<T: Real>(
    x: &[T],
    gy: &[T],
    shape: &ConvShape,
    lines: std::ops::Range<usize>,
    sum: &mut [T],
) {
    let (ow, co, patch) = (shape.ow(), shape.co, shape.kernel_len());
    let rows = lines.len() * ow;
    let mut patches = Scratch::new(if shape.is_pointwise() { 0 } else { rows * patch });
    for group in 0..shape.groups {
        let rhs = if shape.is_pointwise() {
            Matrix::rows(&x[lines.start * ow * shape.ci..], shape.ci)
        } else {
            gather(x, shape, lines.clone(), group, &mut patches);
            Matrix::rows(&patches, patch)
        };
        let first = group * shape.co_group();
        let gy = Matrix::rows(&gy[lines.start * ow * co + first..], co).transposed();
        T::matmul((shape.co_group(), patch, rows), &mut sum[first * patch..], patch, gy, rhs, true);
    }
}
