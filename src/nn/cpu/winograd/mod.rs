//! 3x3 convolution of stride 1 by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016, arXiv 1509.09308): a
//! tile of 4x4 outputs takes 36 multiplications per pair of channels instead of 144.
//!
//! With input tiles d (6x6), kernels g (3x3) and outputs Y (4x4):
//!
//! ```text
//! Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A
//! ```
//!
//! The product ⊙, summed over input channels, is one matrix product for each of the 36 positions. Both gradients are
//! the adjoints of the same formula. Tiles are stored as `[tile, 36, channel]`; a *tile row* is the tiles of four
//! output rows of one image.
//!
//! Speed is limited by where transformed data is kept until its next use. Large images have many tiles with few
//! channels: tile rows are handled in batches that stay in the cache, and the kernels are transformed once
//! ([`many_tiles`]). Small images have few tiles with many channels: the transformed kernels would be four times as
//! large as the kernels, so the kernels of each block of output channels are transformed and used while in the cache
//! ([`many_kernels`]).

mod kernels;
mod many_kernels;
mod many_tiles;
mod tiles;
mod transform;

use std::mem::MaybeUninit;

use super::matmul::PANEL;
use super::{ConvShape, Finish, as_is};

/// Side of an output tile.
const OUT: usize = 4;
/// Side of an input tile.
const IN: usize = 6;
/// Positions in an input tile.
const POSITIONS: usize = IN * IN;
/// Elements of the transformed tiles handled at a time: they stay in the cache.
const BUDGET: usize = 1 << 20;
/// Number of elements of the transformed kernels from which they count as many.
const MANY_KERNELS: usize = 1 << 22;

/// Whether this algorithm supports the shape.
pub(crate) fn serves(shape: &ConvShape) -> bool {
    let kernel = shape.kh == 3 && shape.kw == 3 && shape.stride == 1 && shape.dilation == 1;
    let channels = shape.ci.is_multiple_of(PANEL) && shape.co.is_multiple_of(PANEL) && shape.groups == 1;
    kernel && channels && shape.padding <= 2
}

/// `y[n, oh, ow, co]` of `x[n, h, w, ci]` and `weight[co, ci, 3, 3]`, finished by `finish`.
pub(crate) fn forward(x: &[f32], weight: &[f32], shape: &ConvShape, finish: Finish<'_, f32>) -> Vec<f32> {
    let kernels = Kernels { weight, ci: shape.ci, co: shape.co, turned: false };
    let image = Image { h: shape.h, w: shape.w, c: shape.ci };
    correlate(x, image, &kernels, shape.padding, finish)
}

/// Gradient with respect to `x`, given that of `y`: a correlation with the kernels rotated by 180°.
pub(crate) fn input_gradient(gy: &[f32], weight: &[f32], shape: &ConvShape) -> Vec<f32> {
    let kernels = Kernels { weight, ci: shape.ci, co: shape.co, turned: true };
    let image = Image { h: shape.oh(), w: shape.ow(), c: shape.co };
    correlate(gy, image, &kernels, 2 - shape.padding, &as_is)
}

/// Correlates `x` with kernels, padded with `padding` zeros on each side.
fn correlate(
    x: &[f32],
    image: Image,
    kernels: &Kernels<'_>,
    padding: usize,
    finish: Finish<'_, f32>,
) -> Vec<f32> {
    let correlate = if kernels.are_many() { many_kernels::correlate } else { many_tiles::correlate };
    correlate(x, image, kernels, padding, finish)
}

/// Gradient with respect to `weight`, given that of `y`.
pub(crate) fn weight_gradient(x: &[f32], gy: &[f32], shape: &ConvShape) -> Vec<f32> {
    let input = Image { h: shape.h, w: shape.w, c: shape.ci };
    let output = Image { h: shape.oh(), w: shape.ow(), c: shape.co };
    let many = shape.ci * shape.co * POSITIONS >= MANY_KERNELS;
    let gradient = if many { many_kernels::weight_gradient } else { many_tiles::weight_gradient };
    gradient(x, gy, (input, output), shape.padding)
}

/// Kernels `weight[co, ci, 3, 3]`, or the same rotated by 180° with input and output channels exchanged.
struct Kernels<'a> {
    weight: &'a [f32],
    ci: usize,
    co: usize,
    turned: bool,
}

impl Kernels<'_> {
    /// Number of input channels.
    fn from(&self) -> usize {
        if self.turned { self.co } else { self.ci }
    }

    /// Number of output channels.
    fn to(&self) -> usize {
        if self.turned { self.ci } else { self.co }
    }

    fn are_many(&self) -> bool {
        self.ci * self.co * POSITIONS >= MANY_KERNELS
    }
}

/// Height, width and channels of an image.
struct Image {
    h: usize,
    w: usize,
    c: usize,
}

impl Image {
    /// Number of elements.
    fn len(&self) -> usize {
        self.h * self.w * self.c
    }

    /// Output shape of a correlation with 3x3 kernels.
    fn correlated(&self, padding: usize, c: usize) -> Self {
        Self { h: self.h + 2 * padding - 2, w: self.w + 2 * padding - 2, c }
    }
}

/// Number of tiles that cover an output image, per side.
struct Tiles {
    rows: usize,
    columns: usize,
}

impl Tiles {
    fn covering(output: &Image) -> Self {
        Self { rows: output.h.div_ceil(OUT), columns: output.w.div_ceil(OUT) }
    }
}

/// The output pixels of a tile row.
struct OutputPixels<'a> {
    /// Index of the first element in all images.
    start: usize,
    elements: &'a mut [MaybeUninit<f32>],
}

/// The output pixels of all tile rows.
fn output_pixels<'a>(
    mut y: &'a mut [MaybeUninit<f32>],
    n: usize,
    output: &Image,
    tiles: &Tiles,
) -> Vec<OutputPixels<'a>> {
    let mut pixels = Vec::with_capacity(n * tiles.rows);
    let mut start = 0;
    for _ in 0..n {
        for row in 0..tiles.rows {
            let height = OUT.min(output.h - row * OUT);
            let (elements, rest) = y.split_at_mut(height * output.w * output.c);
            let next = start + elements.len();
            pixels.push(OutputPixels { start, elements });
            (start, y) = (next, rest);
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::direct;

    fn numbers(len: usize, seed: u64) -> Vec<f32> {
        use rand::Rng;
        let mut rng = rng::rng(seed, rng::Purpose::Init, 0, 0);
        (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    fn close(a: &[f32], b: &[f32]) {
        let largest = b.iter().fold(0f32, |m, x| m.max(x.abs()));
        let worst = a.iter().zip(b).fold(0f32, |m, (x, y)| m.max((x - y).abs()));
        assert!(a.len() == b.len() && worst <= 2e-5 * largest, "{worst} of {largest}");
    }

    #[test]
    fn it_agrees_with_the_direct_convolution_on_every_border() {
        let borders = [(8, 8, 1), (7, 5, 1), (4, 9, 0), (3, 3, 2), (1, 1, 1), (6, 13, 1)];
        let few = borders.map(|border| (border, 16, 32));
        for ((h, w, padding), ci, co) in few.into_iter().chain([((5, 4, 1), 240, 256), ((4, 4, 1), 272, 240)])
        {
            let n = 3;
            let rest = (3, 3, 1, padding, 1, 1);
            let (kh, kw, stride, padding, dilation, groups) = rest;
            let shape = ConvShape { n, h, w, ci, co, kh, kw, stride, padding, dilation, groups };
            assert!(serves(&shape));
            let x = numbers(n * h * w * ci, 1);
            let weight = numbers(co * ci * 9, 2);
            let gy = numbers(n * shape.oh() * shape.ow() * co, 3);
            close(&forward(&x, &weight, &shape, &as_is), &direct::forward(&x, &weight, &shape, &as_is));
            close(&input_gradient(&gy, &weight, &shape), &direct::input_gradient(&gy, &weight, &shape));
            close(&weight_gradient(&x, &gy, &shape), &direct::weight_gradient(&x, &gy, &shape));
        }
    }
}
