//! Pooling over the pixels of `[n, h, w, c]` images.

use rayon::prelude::*;

use super::{Real, simd};

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

    /// Input pixels under an output pixel, row by row.
    fn window(&self, oy: usize, ox: usize) -> impl Iterator<Item = usize> + '_ {
        let range = move |o: usize, side: usize| {
            let start = o * self.stride;
            let end = (start + self.kernel).min(side + self.padding);
            start.saturating_sub(self.padding)..end - self.padding
        };
        let columns = range(ox, self.w);
        range(oy, self.h).flat_map(move |iy| columns.clone().map(move |ix| iy * self.w + ix))
    }
}

/// The largest number of each window, and the input pixel (within its image) where it stands. The first
/// of equal numbers counts; a NaN is larger than every number.
pub(crate) fn max_forward<T: Real>(x: &[T], shape: &PoolShape) -> (Vec<T>, Vec<u32>) {
    let (image, c) = (shape.h * shape.w * shape.c, shape.c);
    let out = shape.oh() * shape.ow() * c;
    let mut y = vec![T::from_f64(f64::NEG_INFINITY); shape.n * out];
    let mut at = vec![0u32; shape.n * out];
    let outputs = y.par_chunks_mut(out).zip(at.par_chunks_mut(out));
    outputs.zip(x.par_chunks(image)).for_each(|((y, at), x)| {
        simd(|| {
            for (o, (y, at)) in y.chunks_exact_mut(c).zip(at.chunks_exact_mut(c)).enumerate() {
                for pixel in shape.window(o / shape.ow(), o % shape.ow()) {
                    let x = &x[pixel * c..pixel * c + c];
                    for i in 0..c {
                        let better = x[i] > y[i] || is_nan(x[i]);
                        y[i] = if better { x[i] } else { y[i] };
                        at[i] = if better { pixel as u32 } else { at[i] };
                    }
                }
            }
        });
    });
    (y, at)
}

/// The one number that no comparison holds of.
#[inline(always)]
fn is_nan<T: Real>(x: T) -> bool {
    x.partial_cmp(&x).is_none()
}

/// Gradient of [`max_forward`]: each number goes to the pixel that it came from.
pub(crate) fn max_backward<T: Real>(gy: &[T], at: &[u32], shape: &PoolShape) -> Vec<T> {
    let (image, c) = (shape.h * shape.w * shape.c, shape.c);
    let out = shape.oh() * shape.ow() * c;
    let mut gx = vec![T::zero(); shape.n * image];
    let inputs = gy.par_chunks(out).zip(at.par_chunks(out));
    gx.par_chunks_mut(image).zip(inputs).for_each(|(gx, (gy, at))| {
        for (i, (g, pixel)) in gy.iter().zip(at).enumerate() {
            gx[*pixel as usize * c + i % c] += *g;
        }
    });
    gx
}

/// The mean over the pixels of each image: `[n, pixels, c]` to `[n, c]`.
pub(crate) fn mean_forward<T: Real>(x: &[T], n: usize, pixels: usize, c: usize) -> Vec<T> {
    let mut y = vec![T::zero(); n * c];
    y.par_chunks_mut(c).zip(x.par_chunks(pixels * c)).for_each(|(y, x)| {
        simd(|| {
            for pixel in x.chunks_exact(c) {
                y.iter_mut().zip(pixel).for_each(|(sum, x)| *sum += *x);
            }
            let share = T::from_f64(1.0 / pixels as f64);
            y.iter_mut().for_each(|sum| *sum *= share);
        });
    });
    y
}

/// Gradient of [`mean_forward`].
pub(crate) fn mean_backward<T: Real>(gy: &[T], n: usize, pixels: usize, c: usize) -> Vec<T> {
    let mut gx = vec![T::zero(); n * pixels * c];
    let share = T::from_f64(1.0 / pixels as f64);
    gx.par_chunks_mut(pixels * c).zip(gy.par_chunks(c)).for_each(|(gx, gy)| {
        for pixel in gx.chunks_exact_mut(c) {
            pixel.iter_mut().zip(gy).for_each(|(g, gy)| *g = *gy * share);
        }
    });
    gx
}
