//! 3x3 convolution of stride 1 by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016,
//! arXiv 1509.09308): a tile of 4x4 outputs costs 36 products per pair of channels instead of 144.
//!
//! With input tiles d (6x6), kernels g (3x3) and outputs Y (4x4):
//!
//! ```text
//! Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A
//! ```
//!
//! The product ⊙, summed over input channels, is one matrix product for each of the 36 positions. Both
//! gradients are the adjoints of the same formula. Tiles lie as `[tile, 36, channel]`, transformed kernels
//! as `[36, from, to]`; a *tile row* is the tiles of four output rows of one image.

mod kernels;
mod tiles;
mod transform;

use rayon::prelude::*;

use self::kernels::{gather_kernel_gradients, transform_kernels};
use self::tiles::{transform_inputs, transform_output_gradients, transform_outputs};
use super::ConvShape;
use super::matmul::{Matrix, matmul};
use super::scratch::Scratch;

/// Side of an output tile.
const OUT: usize = 4;
/// Side of an input tile.
const IN: usize = 6;
/// Positions in an input tile.
const POSITIONS: usize = IN * IN;
/// Numbers of channels are multiples of this: the widest vector.
const LANES: usize = 16;
/// Numbers in the transformed tiles that are handled at a time: they stay in the cache.
const BUDGET: usize = 1 << 20;

/// Whether this algorithm serves the shape.
pub(crate) fn serves(shape: &ConvShape) -> bool {
    let kernel = shape.kh == 3 && shape.kw == 3 && shape.stride == 1 && shape.dilation == 1;
    let channels = shape.ci.is_multiple_of(LANES) && shape.co.is_multiple_of(LANES) && shape.groups == 1;
    kernel && channels && shape.padding <= 2
}

/// `y[n, oh, ow, co]` of `x[n, h, w, ci]` and `weight[co, ci, 3, 3]`.
pub(crate) fn forward(x: &[f32], weight: &[f32], shape: &ConvShape) -> Vec<f32> {
    let kernels = transform_kernels(weight, shape.ci, shape.co, false);
    let image = Image { h: shape.h, w: shape.w, c: shape.ci };
    correlate(x, image, &kernels, shape.co, shape.padding)
}

/// Gradient with respect to `x`, given that of `y`: a correlation with the kernels turned by 180°.
pub(crate) fn input_gradient(gy: &[f32], weight: &[f32], shape: &ConvShape) -> Vec<f32> {
    let kernels = transform_kernels(weight, shape.ci, shape.co, true);
    let image = Image { h: shape.oh(), w: shape.ow(), c: shape.co };
    correlate(gy, image, &kernels, shape.ci, 2 - shape.padding)
}

/// Gradient with respect to `weight`, given that of `y`.
pub(crate) fn weight_gradient(x: &[f32], gy: &[f32], shape: &ConvShape) -> Vec<f32> {
    let (ci, co) = (shape.ci, shape.co);
    let input = Image { h: shape.h, w: shape.w, c: ci };
    let output = Image { h: shape.oh(), w: shape.ow(), c: co };
    let tiles = Tiles::of(&output);
    let rows = shape.n * tiles.rows;
    let batch = (BUDGET * 2 / (tiles.columns * POSITIONS * (ci + co))).clamp(1, rows);
    let mut d = Scratch::new(batch * tiles.columns * POSITIONS * ci);
    let mut e = Scratch::new(batch * tiles.columns * POSITIONS * co);
    let mut sums = Scratch::new(POSITIONS * ci * co);
    for first in (0..rows).step_by(batch) {
        let count = batch.min(rows - first);
        transform_inputs(x, &input, &tiles, first, count, shape.padding, &mut d);
        transform_output_gradients(gy, &output, &tiles, first, count, &mut e);
        let t = count * tiles.columns;
        sums.par_chunks_mut(ci * co).enumerate().for_each(|(p, sum)| {
            let d = Matrix::rows(&d[p * ci..], POSITIONS * ci).transposed();
            let e = Matrix::rows(&e[p * co..], POSITIONS * co);
            matmul((ci, co, t), sum, co, d, e, first > 0);
        });
    }
    gather_kernel_gradients(&sums, ci, co)
}

/// Height, width and channels of an image.
struct Image {
    h: usize,
    w: usize,
    c: usize,
}

/// How many tiles cover an output image.
struct Tiles {
    rows: usize,
    columns: usize,
}

impl Tiles {
    fn of(output: &Image) -> Self {
        Self { rows: output.h.div_ceil(OUT), columns: output.w.div_ceil(OUT) }
    }
}

/// Correlate `x` with transformed kernels `[36, c, to]`, with `padding` zeros around.
fn correlate(x: &[f32], image: Image, kernels: &[f32], to: usize, padding: usize) -> Vec<f32> {
    let n = x.len() / (image.h * image.w * image.c);
    let output = Image { h: image.h + 2 * padding - 2, w: image.w + 2 * padding - 2, c: to };
    let tiles = Tiles::of(&output);
    let rows = n * tiles.rows;
    let batch = (BUDGET / (tiles.columns * POSITIONS * (image.c + to))).clamp(1, rows);
    let mut d = Scratch::new(batch * tiles.columns * POSITIONS * image.c);
    let mut m = Scratch::new(batch * tiles.columns * POSITIONS * to);
    let mut y = vec![0.0; n * output.h * output.w * to];
    let mut slices = tile_row_slices(&mut y, n, &output, &tiles);
    for first in (0..rows).step_by(batch) {
        let count = batch.min(rows - first);
        transform_inputs(x, &image, &tiles, first, count, padding, &mut d);
        let t = count * tiles.columns;
        m[..POSITIONS * t * to].par_chunks_mut(t * to).enumerate().for_each(|(p, m)| {
            let lhs = Matrix::rows(&d[p * image.c..], POSITIONS * image.c);
            let rhs = Matrix::rows(&kernels[p * image.c * to..], to);
            matmul((t, to, image.c), m, to, lhs, rhs, false);
        });
        transform_outputs(&m, &output, tiles.columns, t, &mut slices[first..first + count]);
    }
    y
}

/// The output rows of each tile row, as separate slices.
fn tile_row_slices<'a>(mut y: &'a mut [f32], n: usize, output: &Image, tiles: &Tiles) -> Vec<&'a mut [f32]> {
    let mut slices = Vec::with_capacity(n * tiles.rows);
    for _ in 0..n {
        for row in 0..tiles.rows {
            let height = OUT.min(output.h - row * OUT);
            let (head, tail) = y.split_at_mut(height * output.w * output.c);
            slices.push(head);
            y = tail;
        }
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::cpu::direct;

    fn numbers(len: usize, seed: u64) -> Vec<f32> {
        use rand::Rng;
        let mut rng = crate::rng::rng(seed, crate::rng::Purpose::Init, 0, 0);
        (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    fn close(a: &[f32], b: &[f32]) {
        let largest = b.iter().fold(0f32, |m, x| m.max(x.abs()));
        let worst = a.iter().zip(b).fold(0f32, |m, (x, y)| m.max((x - y).abs()));
        assert!(a.len() == b.len() && worst <= 2e-5 * largest, "{worst} of {largest}");
    }

    #[test]
    fn it_agrees_with_the_direct_convolution_on_every_border() {
        for (h, w, padding) in [(8, 8, 1), (7, 5, 1), (4, 9, 0), (3, 3, 2), (1, 1, 1), (6, 13, 1)] {
            let (n, ci, co) = (3, 16, 32);
            let rest = (3, 3, 1, padding, 1, 1);
            let (kh, kw, stride, padding, dilation, groups) = rest;
            let shape = ConvShape { n, h, w, ci, co, kh, kw, stride, padding, dilation, groups };
            assert!(serves(&shape));
            let x = numbers(n * h * w * ci, 1);
            let weight = numbers(co * ci * 9, 2);
            let gy = numbers(n * shape.oh() * shape.ow() * co, 3);
            close(&forward(&x, &weight, &shape), &direct::forward(&x, &weight, &shape));
            close(&input_gradient(&gy, &weight, &shape), &direct::input_gradient(&gy, &weight, &shape));
            close(&weight_gradient(&x, &gy, &shape), &direct::weight_gradient(&x, &gy, &shape));
        }
    }
}
