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

use rayon::prelude::*;

use super::matmul::{Matrix, matmul};
use super::{ConvShape, simd};

/// Side of an output tile.
const OUT: usize = 4;
/// Side of an input tile.
const IN: usize = 6;
/// Positions in an input tile.
const POSITIONS: usize = IN * IN;
/// Channels that are transformed together.
const LANES: usize = 8;
/// Numbers in the transformed tiles that are handled at a time: they stay in the cache.
const BUDGET: usize = 1 << 20;

type Lane = [f32; LANES];

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
    let mut d = vec![0.0; batch * tiles.columns * POSITIONS * ci];
    let mut e = vec![0.0; batch * tiles.columns * POSITIONS * co];
    let mut sums = vec![0.0; POSITIONS * ci * co];
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
    let mut d = vec![0.0; batch * tiles.columns * POSITIONS * image.c];
    let mut m = vec![0.0; batch * tiles.columns * POSITIONS * to];
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

/// Fill `d[tile, 36, c]` with Bᵀ d B for `count` tile rows from `first`.
fn transform_inputs(
    x: &[f32],
    image: &Image,
    tiles: &Tiles,
    first: usize,
    count: usize,
    padding: usize,
    d: &mut [f32],
) {
    let c = image.c;
    let row_len = tiles.columns * POSITIONS * c;
    d[..count * row_len].par_chunks_mut(row_len).enumerate().for_each(|(r, d)| {
        let (n, ty) = ((first + r) / tiles.rows, (first + r) % tiles.rows);
        let x = &x[n * image.h * image.w * c..][..image.h * image.w * c];
        simd(|| {
            for (tx, d) in d.chunks_exact_mut(POSITIONS * c).enumerate() {
                input_tile(x, image, (ty * OUT, tx * OUT), padding, d);
            }
        });
    });
}

#[inline(always)]
fn input_tile(x: &[f32], image: &Image, (top, left): (usize, usize), padding: usize, d: &mut [f32]) {
    let c = image.c;
    let mut offsets = [None; POSITIONS];
    for (p, offset) in offsets.iter_mut().enumerate() {
        let iy = (top + p / IN).checked_sub(padding).filter(|&iy| iy < image.h);
        let ix = (left + p % IN).checked_sub(padding).filter(|&ix| ix < image.w);
        *offset = iy.zip(ix).map(|(iy, ix)| (iy * image.w + ix) * c);
    }
    for channel in (0..c).step_by(LANES) {
        let mut tile = [[0.0; LANES]; POSITIONS];
        for (lane, offset) in tile.iter_mut().zip(&offsets) {
            if let Some(offset) = offset {
                lane.copy_from_slice(&x[offset + channel..offset + channel + LANES]);
            }
        }
        let tile = both_sides::<IN, IN, POSITIONS, POSITIONS, POSITIONS>(&tile, input_transform);
        for (p, lane) in tile.iter().enumerate() {
            d[p * c + channel..p * c + channel + LANES].copy_from_slice(lane);
        }
    }
}

/// Write Aᵀ m A of each tile of the tile rows to their output slices; `m` is `[36, tile, to]`.
fn transform_outputs(m: &[f32], output: &Image, columns: usize, tiles: usize, slices: &mut [&mut [f32]]) {
    let to = output.c;
    slices.par_iter_mut().enumerate().for_each(|(r, y)| {
        simd(|| {
            for tx in 0..columns {
                output_tile(m, r * columns + tx, tiles, to, output.w, tx * OUT, y);
            }
        });
    });
}

#[inline(always)]
fn output_tile(m: &[f32], t: usize, tiles: usize, to: usize, width: usize, left: usize, y: &mut [f32]) {
    let height = y.len() / (width * to);
    for channel in (0..to).step_by(LANES) {
        let mut tile = [[0.0; LANES]; POSITIONS];
        for (p, lane) in tile.iter_mut().enumerate() {
            let start = (p * tiles + t) * to + channel;
            lane.copy_from_slice(&m[start..start + LANES]);
        }
        let tile = both_sides::<IN, OUT, POSITIONS, 24, 16>(&tile, output_transform);
        for (p, lane) in tile.iter().enumerate() {
            let (oy, ox) = (p / OUT, left + p % OUT);
            if oy < height && ox < width {
                let start = (oy * width + ox) * to + channel;
                y[start..start + LANES].copy_from_slice(lane);
            }
        }
    }
}

/// Fill `e[tile, 36, c]` with A gy Aᵀ for `count` tile rows from `first`.
fn transform_output_gradients(
    gy: &[f32],
    output: &Image,
    tiles: &Tiles,
    first: usize,
    count: usize,
    e: &mut [f32],
) {
    let c = output.c;
    let row_len = tiles.columns * POSITIONS * c;
    e[..count * row_len].par_chunks_mut(row_len).enumerate().for_each(|(r, e)| {
        let (n, ty) = ((first + r) / tiles.rows, (first + r) % tiles.rows);
        let gy = &gy[n * output.h * output.w * c..][..output.h * output.w * c];
        simd(|| {
            for (tx, e) in e.chunks_exact_mut(POSITIONS * c).enumerate() {
                output_gradient_tile(gy, output, (ty * OUT, tx * OUT), e);
            }
        });
    });
}

#[inline(always)]
fn output_gradient_tile(gy: &[f32], output: &Image, (top, left): (usize, usize), e: &mut [f32]) {
    let c = output.c;
    for channel in (0..c).step_by(LANES) {
        let mut tile = [[0.0; LANES]; OUT * OUT];
        for (p, lane) in tile.iter_mut().enumerate() {
            let (oy, ox) = (top + p / OUT, left + p % OUT);
            if oy < output.h && ox < output.w {
                let start = (oy * output.w + ox) * c + channel;
                lane.copy_from_slice(&gy[start..start + LANES]);
            }
        }
        let tile = both_sides::<OUT, IN, 16, 24, POSITIONS>(&tile, output_adjoint);
        for (p, lane) in tile.iter().enumerate() {
            e[p * c + channel..p * c + channel + LANES].copy_from_slice(lane);
        }
    }
}

/// G g Gᵀ of every kernel of `weight[co, ci, 3, 3]`, as `[36, ci, co]`; for the input gradient the kernels
/// are turned by 180° and lie as `[36, co, ci]`.
fn transform_kernels(weight: &[f32], ci: usize, co: usize, turned: bool) -> Vec<f32> {
    let (from, to) = if turned { (co, ci) } else { (ci, co) };
    // `weight` strides of the two roles: lanes run over `to`.
    let (from_stride, to_stride) = if turned { (ci * 9, 9) } else { (9, ci * 9) };
    let mut by_block = vec![0.0; POSITIONS * from * to];
    // One block of lanes after another, each `[from, 36, LANES]`: blocks are written by separate threads.
    by_block.par_chunks_mut(from * POSITIONS * LANES).enumerate().for_each(|(block, out)| {
        simd(|| {
            for (f, out) in out.chunks_exact_mut(POSITIONS * LANES).enumerate() {
                let start = f * from_stride + block * LANES * to_stride;
                let kernel = load_kernel(&weight[start..], to_stride, turned);
                let tile = both_sides::<3, IN, 9, 18, POSITIONS>(&kernel, kernel_transform);
                out.copy_from_slice(tile.as_flattened());
            }
        });
    });
    let mut kernels = vec![0.0; POSITIONS * from * to];
    kernels.par_chunks_mut(from * to).enumerate().for_each(|(p, out)| {
        for (f, out) in out.chunks_exact_mut(to).enumerate() {
            for (block, out) in out.chunks_exact_mut(LANES).enumerate() {
                let start = ((block * from + f) * POSITIONS + p) * LANES;
                out.copy_from_slice(&by_block[start..start + LANES]);
            }
        }
    });
    kernels
}

#[inline(always)]
fn load_kernel(weight: &[f32], to_stride: usize, turned: bool) -> [Lane; 9] {
    let mut kernel = [[0.0; LANES]; 9];
    for lane in 0..LANES {
        let taps = &weight[lane * to_stride..lane * to_stride + 9];
        for tap in 0..9 {
            kernel[if turned { 8 - tap } else { tap }][lane] = taps[tap];
        }
    }
    kernel
}

/// Gᵀ s G of every kernel's sums `[36, ci, co]`, as `[co, ci, 3, 3]`.
fn gather_kernel_gradients(sums: &[f32], ci: usize, co: usize) -> Vec<f32> {
    let mut gradient = vec![0.0; co * ci * 9];
    gradient.par_chunks_mut(LANES * ci * 9).enumerate().for_each(|(block, out)| {
        simd(|| {
            for c in 0..ci {
                let mut tile = [[0.0; LANES]; POSITIONS];
                for (p, lane) in tile.iter_mut().enumerate() {
                    let start = (p * ci + c) * co + block * LANES;
                    lane.copy_from_slice(&sums[start..start + LANES]);
                }
                let kernel = both_sides::<IN, 3, POSITIONS, 18, 9>(&tile, kernel_adjoint);
                for (lane, out) in out.chunks_exact_mut(ci * 9).enumerate() {
                    for tap in 0..9 {
                        out[c * 9 + tap] = kernel[tap][lane];
                    }
                }
            }
        });
    });
    gradient
}

/// Apply a one-dimensional transform to the columns, then to the rows, of an `N`x`N` tile.
#[inline(always)]
fn both_sides<const N: usize, const M: usize, const NN: usize, const MN: usize, const MM: usize>(
    tile: &[Lane; NN],
    transform: impl Fn([Lane; N]) -> [Lane; M],
) -> [Lane; MM] {
    let mut half = [[0.0; LANES]; MN];
    for column in 0..N {
        let line = transform(std::array::from_fn(|row| tile[row * N + column]));
        for (row, lane) in line.into_iter().enumerate() {
            half[row * N + column] = lane;
        }
    }
    let mut whole = [[0.0; LANES]; MM];
    for row in 0..M {
        let line = transform(std::array::from_fn(|column| half[row * N + column]));
        for (column, lane) in line.into_iter().enumerate() {
            whole[row * M + column] = lane;
        }
    }
    whole
}

/// Σ factor · lane, over the terms with a factor.
macro_rules! combine {
    ($($factor:literal * $lane:expr),+ $(,)?) => {{
        let mut sum = [0.0f32; LANES];
        $(for i in 0..LANES { sum[i] += $factor * $lane[i]; })+
        sum
    }};
}

/// Bᵀ d.
#[inline(always)]
fn input_transform(d: [Lane; IN]) -> [Lane; IN] {
    [
        combine!(4.0 * d[0], -5.0 * d[2], 1.0 * d[4]),
        combine!(-4.0 * d[1], -4.0 * d[2], 1.0 * d[3], 1.0 * d[4]),
        combine!(4.0 * d[1], -4.0 * d[2], -1.0 * d[3], 1.0 * d[4]),
        combine!(-2.0 * d[1], -1.0 * d[2], 2.0 * d[3], 1.0 * d[4]),
        combine!(2.0 * d[1], -1.0 * d[2], -2.0 * d[3], 1.0 * d[4]),
        combine!(4.0 * d[1], -5.0 * d[3], 1.0 * d[5]),
    ]
}

/// Aᵀ m.
#[inline(always)]
fn output_transform(m: [Lane; IN]) -> [Lane; OUT] {
    [
        combine!(1.0 * m[0], 1.0 * m[1], 1.0 * m[2], 1.0 * m[3], 1.0 * m[4]),
        combine!(1.0 * m[1], -1.0 * m[2], 2.0 * m[3], -2.0 * m[4]),
        combine!(1.0 * m[1], 1.0 * m[2], 4.0 * m[3], 4.0 * m[4]),
        combine!(1.0 * m[1], -1.0 * m[2], 8.0 * m[3], -8.0 * m[4], 1.0 * m[5]),
    ]
}

/// A y: the adjoint of [`output_transform`].
#[inline(always)]
fn output_adjoint(y: [Lane; OUT]) -> [Lane; IN] {
    [
        y[0],
        combine!(1.0 * y[0], 1.0 * y[1], 1.0 * y[2], 1.0 * y[3]),
        combine!(1.0 * y[0], -1.0 * y[1], 1.0 * y[2], -1.0 * y[3]),
        combine!(1.0 * y[0], 2.0 * y[1], 4.0 * y[2], 8.0 * y[3]),
        combine!(1.0 * y[0], -2.0 * y[1], 4.0 * y[2], -8.0 * y[3]),
        y[3],
    ]
}

const SIXTH: f32 = 1.0 / 6.0;
const TWELFTH: f32 = 1.0 / 12.0;
const TWENTY_FOURTH: f32 = 1.0 / 24.0;

/// G g.
#[inline(always)]
fn kernel_transform(g: [Lane; 3]) -> [Lane; IN] {
    let mut out = [[0.0; LANES]; IN];
    for i in 0..LANES {
        let (a, b, c) = (g[0][i], g[1][i], g[2][i]);
        out[0][i] = 0.25 * a;
        out[1][i] = -SIXTH * (a + b + c);
        out[2][i] = -SIXTH * (a - b + c);
        out[3][i] = TWENTY_FOURTH * a + TWELFTH * b + SIXTH * c;
        out[4][i] = TWENTY_FOURTH * a - TWELFTH * b + SIXTH * c;
        out[5][i] = c;
    }
    out
}

/// Gᵀ s: the adjoint of [`kernel_transform`].
#[inline(always)]
fn kernel_adjoint(s: [Lane; IN]) -> [Lane; 3] {
    let mut out = [[0.0; LANES]; 3];
    for i in 0..LANES {
        let (plus, minus) = (s[3][i] + s[4][i], s[3][i] - s[4][i]);
        out[0][i] = 0.25 * s[0][i] - SIXTH * (s[1][i] + s[2][i]) + TWENTY_FOURTH * plus;
        out[1][i] = SIXTH * (s[2][i] - s[1][i]) + TWELFTH * minus;
        out[2][i] = SIXTH * (plus - s[1][i] - s[2][i]) + s[5][i];
    }
    out
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
            let (n, ci, co) = (3, 16, 24);
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
