//! Convolution as matrix products on gathered patches (im2col), for every kernel, stride, dilation and
//! number of groups.
//!
//! A *line* is one output row of one image: `ow` pixels. A task handles a few lines, with a patch matrix
//! that fits the processor's second-level cache; a 1x1 convolution of stride 1 needs no patches at all.

use rayon::prelude::*;

use super::matmul::Matrix;
use super::{ConvShape, Real, sum_in_order};

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

/// The same with a group's kernels side by side: `[groups, kh · kw · ci / groups, co / groups]`.
fn kernels_side_by_side<T: Real>(weight: &[T], shape: &ConvShape) -> Vec<T> {
    let (patch, columns) = (shape.kernel_len(), shape.co_group());
    let ordered = kernels_in_patch_order(weight, shape);
    let mut beside = vec![T::zero(); weight.len()];
    beside.par_chunks_mut(columns).enumerate().for_each(|(row, to)| {
        let (group, i) = (row / patch, row % patch);
        for (j, to) in to.iter_mut().enumerate() {
            *to = ordered[(group * columns + j) * patch + i];
        }
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
    for (l, line) in lines.enumerate() {
        let (image, oy) = (line / oh, line % oh);
        for ky in 0..shape.kh {
            let row = shape.source(oy, ky, shape.h);
            for ox in 0..ow {
                for kx in 0..shape.kw {
                    let start = (l * ow + ox) * patch + (ky * shape.kw + kx) * channels;
                    let to = &mut patches[start..start + channels];
                    match (row, shape.source(ox, kx, shape.w)) {
                        (Some(iy), Some(ix)) => {
                            let from = ((image * shape.h + iy) * shape.w + ix) * shape.ci + group * channels;
                            to.copy_from_slice(&x[from..from + channels]);
                        }
                        _ => to.fill(T::zero()),
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
                for kx in 0..shape.kw {
                    let Some(ix) = shape.source(ox, kx, shape.w) else { continue };
                    let from = (l * ow + ox) * patch + (ky * shape.kw + kx) * channels;
                    let to = (iy * shape.w + ix) * shape.ci + group * channels;
                    let pairs = x[to..to + channels].iter_mut().zip(&patches[from..from + channels]);
                    pairs.for_each(|(sum, g)| *sum += *g);
                }
            }
        }
    }
}

/// `y[n, oh, ow, co]` of `x[n, h, w, ci]` and `weight[co, ci / groups, kh, kw]`.
pub(crate) fn forward<T: Real>(x: &[T], weight: &[T], shape: &ConvShape) -> Vec<T> {
    let (oh, ow, co, patch) = (shape.oh(), shape.ow(), shape.co, shape.kernel_len());
    let kernels = kernels_side_by_side(weight, shape);
    let mut y = vec![T::zero(); shape.n * oh * ow * co];
    let lines = shape.lines_per_task();
    y.par_chunks_mut(lines * ow * co).enumerate().for_each_init(Vec::new, |patches, (task, y)| {
        let rows = y.len() / co;
        let first = task * lines;
        for group in 0..shape.groups {
            let kernels = &kernels[group * shape.co_group() * patch..];
            let lhs = if shape.is_pointwise() {
                Matrix::rows(&x[first * ow * shape.ci..], shape.ci)
            } else {
                patches.resize(rows * patch, T::zero());
                gather(x, shape, first..first + rows / ow, group, patches);
                Matrix::rows(patches, patch)
            };
            let rhs = Matrix::rows(kernels, shape.co_group());
            let size = (rows, shape.co_group(), patch);
            T::matmul(size, &mut y[group * shape.co_group()..], co, lhs, rhs, false);
        }
    });
    y
}

/// Gradient with respect to `x`, given that of `y`.
pub(crate) fn input_gradient<T: Real>(gy: &[T], weight: &[T], shape: &ConvShape) -> Vec<T> {
    let (oh, ow, co, patch) = (shape.oh(), shape.ow(), shape.co, shape.kernel_len());
    let kernels = kernels_in_patch_order(weight, shape);
    let image = shape.h * shape.w * shape.ci;
    let mut gx = vec![T::zero(); shape.n * image];
    let lines = shape.lines_per_task().min(oh);
    gx.par_chunks_mut(image).zip(gy.par_chunks(oh * ow * co)).for_each_init(Vec::new, |patches, (gx, gy)| {
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
                    patches.resize(rows * patch, T::zero());
                    T::matmul(size, patches, patch, gy, kernels, false);
                    scatter_add(patches, shape, first..last, group, gx);
                }
            }
        }
    });
    gx
}

/// Gradient with respect to `weight`, given that of `y`. The images are cut into a number of parts that
/// depends on the shape alone; the parts' sums are added in order.
pub(crate) fn weight_gradient<T: Real>(x: &[T], gy: &[T], shape: &ConvShape) -> Vec<T> {
    let (oh, co, patch) = (shape.oh(), shape.co, shape.kernel_len());
    let parts = if co * patch > 1 << 18 { 4 } else { 16 };
    let total = shape.n * oh;
    let lines_per_part = total.div_ceil(parts).max(1);
    let starts: Vec<usize> = (0..total).step_by(lines_per_part).collect();
    let partial = starts.par_iter().map_init(Vec::new, |patches, &start| {
        let mut sum = vec![T::zero(); co * patch];
        let end = (start + lines_per_part).min(total);
        for first in (start..end).step_by(shape.lines_per_task()) {
            let last = (first + shape.lines_per_task()).min(end);
            accumulate_weight_gradient(x, gy, shape, first..last, patches, &mut sum);
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
    patches: &mut Vec<T>,
    sum: &mut [T],
) {
    let (ow, co, patch) = (shape.ow(), shape.co, shape.kernel_len());
    let rows = lines.len() * ow;
    for group in 0..shape.groups {
        let rhs = if shape.is_pointwise() {
            Matrix::rows(&x[lines.start * ow * shape.ci..], shape.ci)
        } else {
            patches.resize(rows * patch, T::zero());
            gather(x, shape, lines.clone(), group, patches);
            Matrix::rows(patches, patch)
        };
        let first = group * shape.co_group();
        let gy = Matrix::rows(&gy[lines.start * ow * co + first..], co).transposed();
        T::matmul((shape.co_group(), patch, rows), &mut sum[first * patch..], patch, gy, rhs, true);
    }
}
