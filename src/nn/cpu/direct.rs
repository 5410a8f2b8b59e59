//! Convolution as matrix products on gathered patches (im2col), for any kernel, stride, dilation and number of groups.
//!
//! A *line* is one output row of one image: `ow` pixels. A task handles a few lines, with a patch matrix that fits the
//! second-level cache. A 1x1 convolution of stride 1 is a linear map of each pixel and is computed as one, without
//! patches.

use rayon::prelude::*;

use super::matmul::{Matrix, PANEL, Panels, pack_panel};
use super::scratch::Scratch;
use super::{ConvShape, Finish, Real, by_pieces, sum_in_order, written_by_pieces};

/// Elements of a task's patch matrix: half a mebibyte.
const PATCH_BUDGET: usize = 1 << 17;

/// Reorders kernels `[co, ci / groups, kh, kw]` to `[co, kh, kw, ci / groups]`, the order of a patch.
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

/// The panels of each group's kernels, `[co / groups, kh · kw · ci / groups]` or its transpose.
fn kernel_panels<T: Real>(weight: &[T], shape: &ConvShape, transposed: bool) -> Vec<T> {
    let (kernels, patch) = (shape.co_group(), shape.kernel_len());
    let ordered = kernels_in_patch_order(weight, shape);
    let (k, n) = if transposed { (patch, kernels) } else { (kernels, patch) };
    let panels = n.div_ceil(PANEL);
    let mut packed = vec![T::zero(); shape.groups * Panels::<T>::len(n, k)];
    packed.par_chunks_mut(k * PANEL).enumerate().for_each(|(i, panel)| {
        let group = Matrix::rows(&ordered[i / panels * kernels * patch..], patch);
        pack_panel(if transposed { group.transposed() } else { group }, i % panels * PANEL, n, panel);
    });
    packed
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
    fn lines_per_task(&self) -> usize {
        let line = self.ow() * self.kernel_len();
        (PATCH_BUDGET / line).clamp(1, 1024 / self.ow().min(1024))
    }

    /// Input row or column of an output position and a tap; `None` in the padding.
    fn source(&self, position: usize, tap: usize, side: usize) -> Option<usize> {
        let padded = position * self.stride + tap * self.dilation;
        padded.checked_sub(self.padding).filter(|&i| i < side)
    }

    /// The taps of one kernel row in input row `iy` (`None`: padding) at output column `ox`, as contiguous pieces
    /// (first tap, number of taps, offset of the first input element, `None` in the padding). Adjacent taps, with all
    /// channels, form one piece.
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

/// Gathers the patches of `lines` (counted over all images) for `group` into `patches`.
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

/// Adds patches of `lines` (counted over the images of `x`) back to where [`gather`] took them from.
fn scatter_add<T: Real>(
    patches: &[T],
    shape: &ConvShape,
    lines: std::ops::Range<usize>,
    group: usize,
    x: &mut [T],
) {
    let channels = shape.ci_group();
    let (oh, ow, patch) = (shape.oh(), shape.ow(), shape.kernel_len());
    let image_len = shape.h * shape.w * shape.ci;
    for (l, line) in lines.enumerate() {
        let x = &mut x[line / oh * image_len..][..image_len];
        for ky in 0..shape.kh {
            let Some(iy) = shape.source(line % oh, ky, shape.h) else { continue };
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

/// `y[n, oh, ow, co]` of `x[n, h, w, ci]` and `weight[co, ci / groups, kh, kw]`, finished by `finish`.
pub(crate) fn forward<T: Real>(x: &[T], weight: &[T], shape: &ConvShape, finish: Finish<'_, T>) -> Vec<T> {
    let (oh, ow, co, patch) = (shape.oh(), shape.ow(), shape.co, shape.kernel_len());
    let group_len = Panels::<T>::len(shape.co_group(), patch);
    let kernels = kernel_panels(weight, shape, true);
    let lines = shape.lines_per_task();
    let fill = |task: usize, y: &mut [T]| {
        let rows = y.len() / co;
        let first = task * lines;
        let mut patches = Scratch::new(rows * patch);
        for (group, kernels) in kernels.chunks_exact(group_len).enumerate() {
            gather(x, shape, first..first + rows / ow, group, &mut patches);
            let kernels = Panels::packed(kernels, (patch, shape.co_group()));
            let patches = Matrix::rows(&patches, patch);
            T::multiply(rows, &mut y[group * shape.co_group()..], co, patches, kernels, false);
        }
        finish(first * ow * co, y);
    };
    // SAFETY: the products of all groups write every element of the result.
    unsafe { written_by_pieces(shape.n * oh * ow * co, lines * ow * co, fill) }
}

/// Gradient with respect to `x`, given that of `y`. A task handles as many whole images as fit the patch budget, or one
/// image in several rounds.
pub(crate) fn input_gradient<T: Real>(gy: &[T], weight: &[T], shape: &ConvShape) -> Vec<T> {
    let (oh, ow, co, patch) = (shape.oh(), shape.ow(), shape.co, shape.kernel_len());
    let group_len = Panels::<T>::len(patch, shape.co_group());
    let kernels = kernel_panels(weight, shape, false);
    let image = shape.h * shape.w * shape.ci;
    let lines = shape.lines_per_task();
    let images = (lines / oh).max(1);
    by_pieces(shape.n * image, images * image, |task, gx| {
        let gy = &gy[task * images * oh * ow * co..];
        let total = gx.len() / image * oh;
        let mut patches = Scratch::new(lines.min(total) * ow * patch);
        for first in (0..total).step_by(lines) {
            let last = (first + lines).min(total);
            for (group, kernels) in kernels.chunks_exact(group_len).enumerate() {
                let kernels = Panels::packed(kernels, (shape.co_group(), patch));
                let gy = Matrix::rows(&gy[first * ow * co + group * shape.co_group()..], co);
                T::multiply((last - first) * ow, &mut patches, patch, gy, kernels, false);
                scatter_add(&patches, shape, first..last, group, gx);
            }
        }
    })
}

/// Gradient with respect to `weight`, given that of `y`. The images are divided into parts that depend on the shape
/// alone; the partial sums are added in order.
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
    let mut patches = Scratch::new(rows * patch);
    for group in 0..shape.groups {
        gather(x, shape, lines.clone(), group, &mut patches);
        let first = group * shape.co_group();
        let gy = Matrix::rows(&gy[lines.start * ow * co + first..], co).transposed();
        let patches = Matrix::rows(&patches, patch);
        T::matmul((shape.co_group(), patch, rows), &mut sum[first * patch..], patch, gy, patches, true);
    }
}
