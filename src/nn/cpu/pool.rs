//! Pooling over the pixels of `[n, h, w, c]` images.

use std::ops::Range;

use rayon::prelude::*;

use super::lanes::LANES;
use super::{Real, by_pieces, widest, written_by_pieces};

/// The shape of a max-pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolShape {
    pub(crate) n: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) c: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

impl PoolShape {
    /// Output height.
    pub(crate) fn oh(&self) -> usize {
        (self.h + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Output width.
    pub(crate) fn ow(&self) -> usize {
        (self.w + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Input positions, of `side` many, under output position `o`.
    fn window(&self, o: usize, side: usize) -> Range<usize> {
        let start = o * self.stride;
        let end = (start + self.kernel).min(side + self.padding);
        start.saturating_sub(self.padding)..end - self.padding
    }
}

/// Maximum of each window. NaN counts as larger than any number.
pub(crate) fn max_forward<T: Real>(x: &[T], shape: &PoolShape) -> Vec<T> {
    let (image, out) = (shape.h * shape.w * shape.c, shape.oh() * shape.ow() * shape.c);
    let fill = |n: usize, y: &mut [T]| widest(image_max, (&x[n * image..][..image], y, shape));
    // SAFETY: every pixel of the result is written.
    unsafe { written_by_pieces(shape.n * out, out, fill) }
}

/// Gradient of [`max_forward`], given its output `y`: each element goes to the first pixel that holds the maximum.
pub(crate) fn max_backward<T: Real>(x: &[T], y: &[T], gy: &[T], shape: &PoolShape) -> Vec<T> {
    let (image, out) = (shape.h * shape.w * shape.c, shape.oh() * shape.ow() * shape.c);
    by_pieces(shape.n * image, image, |n, gx| {
        let (y, gy) = (&y[n * out..][..out], &gy[n * out..][..out]);
        widest(image_gradient, (&x[n * image..][..image], y, gy, gx, shape));
    })
}

#[inline(always)]
fn image_max<T: Real>((x, y, shape): (&[T], &mut [T], &PoolShape)) {
    for (o, y) in y.chunks_exact_mut(shape.c).enumerate() {
        let pixels = Window::new(shape, o);
        let (many, rest) = y.as_chunks_mut::<LANES>();
        let first = many.len() * LANES;
        for (i, y) in many.iter_mut().enumerate() {
            *y = largest(x, i * LANES, &pixels);
        }
        for (i, y) in rest.iter_mut().enumerate() {
            [*y] = largest(x, first + i, &pixels);
        }
    }
}

#[inline(always)]
fn image_gradient<T: Real>((x, y, gy, gx, shape): (&[T], &[T], &[T], &mut [T], &PoolShape)) {
    for (o, (y, gy)) in y.chunks_exact(shape.c).zip(gy.chunks_exact(shape.c)).enumerate() {
        let pixels = Window::new(shape, o);
        let ((many, rest), (many_gy, rest_gy)) = (y.as_chunks::<LANES>(), gy.as_chunks::<LANES>());
        let first = many.len() * LANES;
        for (i, (y, gy)) in many.iter().zip(many_gy).enumerate() {
            hand_back(x, i * LANES, &pixels, y, *gy, gx);
        }
        for (i, (y, gy)) in rest.iter().zip(rest_gy).enumerate() {
            hand_back(x, first + i, &pixels, &[*y], [*gy], gx);
        }
    }
}

/// The input pixels under an output pixel.
struct Window {
    rows: Range<usize>,
    columns: Range<usize>,
    width: usize,
    channels: usize,
}

impl Window {
    #[inline(always)]
    fn new(shape: &PoolShape, output: usize) -> Self {
        let (oy, ox) = (output / shape.ow(), output % shape.ow());
        let (rows, columns) = (shape.window(oy, shape.h), shape.window(ox, shape.w));
        Self { rows, columns, width: shape.w, channels: shape.c }
    }
}

/// Maximum of the window in `N` channels from `channel`.
#[inline(always)]
fn largest<T: Real, const N: usize>(x: &[T], channel: usize, window: &Window) -> [T; N] {
    let mut largest = [T::from_f64(f64::NEG_INFINITY); N];
    for iy in window.rows.clone() {
        for ix in window.columns.clone() {
            let x = &x[(iy * window.width + ix) * window.channels + channel..][..N];
            for i in 0..N {
                largest[i] = if x[i] > largest[i] || is_nan(x[i]) { x[i] } else { largest[i] };
            }
        }
    }
    largest
}

/// Adds the gradient of `N` channels to the first pixels of the window that equal `y`.
#[inline(always)]
fn hand_back<T: Real, const N: usize>(
    x: &[T],
    channel: usize,
    window: &Window,
    y: &[T; N],
    mut gy: [T; N],
    gx: &mut [T],
) {
    for iy in window.rows.clone() {
        for ix in window.columns.clone() {
            let start = (iy * window.width + ix) * window.channels + channel;
            let (x, gx) = (&x[start..][..N], &mut gx[start..][..N]);
            for i in 0..N {
                let here = if x[i] == y[i] || is_nan(x[i]) { gy[i] } else { T::zero() };
                gx[i] += here;
                gy[i] -= here;
            }
        }
    }
}

/// Only NaN differs from itself; in this form the comparison vectorizes.
#[inline(always)]
#[expect(clippy::eq_op, reason = "the comparison with itself is meant")]
fn is_nan<T: Real>(x: T) -> bool {
    x != x
}

/// Mean over the pixels of each image: `[n, pixels, c]` to `[n, c]`.
pub(crate) fn mean_forward<T: Real>(x: &[T], n: usize, pixels: usize, c: usize) -> Vec<T> {
    let mut y = vec![T::zero(); n * c];
    y.par_chunks_mut(c).zip(x.par_chunks(pixels * c)).for_each(|(y, x)| widest(image_mean, (x, y)));
    y
}

#[inline(always)]
fn image_mean<T: Real>((x, y): (&[T], &mut [T])) {
    let share = T::from_f64(y.len() as f64 / x.len() as f64);
    for pixel in x.chunks_exact(y.len()) {
        y.iter_mut().zip(pixel).for_each(|(sum, x)| *sum += *x);
    }
    y.iter_mut().for_each(|sum| *sum *= share);
}

/// Gradient of [`mean_forward`].
pub(crate) fn mean_backward<T: Real>(gy: &[T], n: usize, pixels: usize, c: usize) -> Vec<T> {
    let share = T::from_f64(1.0 / pixels as f64);
    let fill = |image: usize, gx: &mut [T]| {
        for pixel in gx.chunks_exact_mut(c) {
            pixel.iter_mut().zip(&gy[image * c..]).for_each(|(g, gy)| *g = *gy * share);
        }
    };
    // SAFETY: every pixel of the result is written.
    unsafe { written_by_pieces(n * pixels * c, pixels * c, fill) }
}

/// Mean of each non-overlapping `side`x`side` window: `[n, h, w, c]` to `[n, h / side, w / side, c]`. Rows and columns
/// that do not fill a window are dropped.
pub(crate) fn window_mean_forward<T: Real>(x: &[T], (h, w, c): (usize, usize, usize), side: usize) -> Vec<T> {
    let (oh, ow) = (h / side, w / side);
    let share = T::from_f64(1.0 / (side * side) as f64);
    let images = x.len() / (h * w * c);
    by_pieces(images * oh * ow * c, ow * c, |row, y| {
        let (image, oy) = (row / oh, row % oh);
        for line in 0..side {
            let x = &x[((image * h + oy * side + line) * w) * c..][..w * c];
            widest(add_windows, (x, y, (side, c), share));
        }
    })
}

/// Adds `share` times each pixel of a row to the sum of its window.
#[inline(always)]
fn add_windows<T: Real>((x, y, (side, c), share): (&[T], &mut [T], (usize, usize), T)) {
    for (x, y) in x.chunks_exact(side * c).zip(y.chunks_exact_mut(c)) {
        for pixel in x.chunks_exact(c) {
            y.iter_mut().zip(pixel).for_each(|(y, x)| *y += share * *x);
        }
    }
}

/// Gradient of [`window_mean_forward`].
pub(crate) fn window_mean_backward<T: Real>(
    gy: &[T],
    (h, w, c): (usize, usize, usize),
    side: usize,
) -> Vec<T> {
    let (oh, ow) = (h / side, w / side);
    let share = T::from_f64(1.0 / (side * side) as f64);
    let images = gy.len() / (oh * ow * c).max(1);
    by_pieces(images * h * w * c, w * c, |row, gx| {
        let (image, oy) = (row / h, row % h / side);
        if oy < oh {
            let gy = &gy[(image * oh + oy) * ow * c..][..ow * c];
            for (gx, gy) in gx.chunks_exact_mut(side * c).zip(gy.chunks_exact(c)) {
                for pixel in gx.chunks_exact_mut(c) {
                    pixel.iter_mut().zip(gy).for_each(|(g, gy)| *g = *gy * share);
                }
            }
        }
    })
}
