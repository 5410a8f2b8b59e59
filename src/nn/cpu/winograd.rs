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

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::ConvShape;
use super::matmul::{Matrix, matmul};

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
    let row_len = tiles.columns * POSITIONS * image.c;
    let len = image.h * image.w * image.c;
    d[..count * row_len].par_chunks_mut(row_len).enumerate().for_each(|(r, d)| {
        let (n, row) = ((first + r) / tiles.rows, (first + r) % tiles.rows);
        Arch::new().dispatch(InputRow { x: &x[n * len..][..len], image, top: row * OUT, padding, d });
    });
}

/// The input tiles of one tile row.
struct InputRow<'a> {
    x: &'a [f32],
    image: &'a Image,
    top: usize,
    padding: usize,
    d: &'a mut [f32],
}

impl WithSimd for InputRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, image, top, padding, d } = self;
        let c = image.c;
        for (tile, d) in d.chunks_exact_mut(POSITIONS * c).enumerate() {
            let mut offsets = [None; POSITIONS];
            for (p, offset) in offsets.iter_mut().enumerate() {
                let iy = (top + p / IN).checked_sub(padding).filter(|&iy| iy < image.h);
                let ix = (tile * OUT + p % IN).checked_sub(padding).filter(|&ix| ix < image.w);
                *offset = iy.zip(ix).map(|(iy, ix)| (iy * image.w + ix) * c);
            }
            for channel in (0..c).step_by(S::F32_LANES) {
                let mut tile = [simd.splat_f32s(0.0); POSITIONS];
                for (lanes, offset) in tile.iter_mut().zip(offsets) {
                    if let Some(offset) = offset {
                        *lanes = load::<S>(x, offset + channel);
                    }
                }
                let tile = both_sides::<S, InputTransform, IN, IN, POSITIONS, 36, 36>(simd, tile);
                for (p, lanes) in tile.into_iter().enumerate() {
                    store::<S>(d, p * c + channel, lanes);
                }
            }
        }
    }
}

/// Write Aᵀ m A of each tile of the tile rows to their output slices; `m` is `[36, tile, to]`.
fn transform_outputs(m: &[f32], output: &Image, columns: usize, tiles: usize, slices: &mut [&mut [f32]]) {
    slices.par_iter_mut().enumerate().for_each(|(r, y)| {
        Arch::new().dispatch(OutputRow { m, output, tiles, first: r * columns, columns, y });
    });
}

/// The output tiles of one tile row.
struct OutputRow<'a> {
    m: &'a [f32],
    output: &'a Image,
    tiles: usize,
    first: usize,
    columns: usize,
    y: &'a mut [f32],
}

impl WithSimd for OutputRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { m, output, tiles, first, columns, y } = self;
        let (to, width) = (output.c, output.w);
        let height = y.len() / (width * to);
        for tile in 0..columns {
            for channel in (0..to).step_by(S::F32_LANES) {
                let mut products = [simd.splat_f32s(0.0); POSITIONS];
                for (p, lanes) in products.iter_mut().enumerate() {
                    *lanes = load::<S>(m, (p * tiles + first + tile) * to + channel);
                }
                let outputs = both_sides::<S, OutputTransform, IN, OUT, POSITIONS, 24, 16>(simd, products);
                for (p, lanes) in outputs.into_iter().enumerate() {
                    let (oy, ox) = (p / OUT, tile * OUT + p % OUT);
                    if oy < height && ox < width {
                        store::<S>(y, (oy * width + ox) * to + channel, lanes);
                    }
                }
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
    let row_len = tiles.columns * POSITIONS * output.c;
    let len = output.h * output.w * output.c;
    e[..count * row_len].par_chunks_mut(row_len).enumerate().for_each(|(r, e)| {
        let (n, row) = ((first + r) / tiles.rows, (first + r) % tiles.rows);
        Arch::new().dispatch(OutputGradientRow { gy: &gy[n * len..][..len], output, top: row * OUT, e });
    });
}

/// The output gradients' tiles of one tile row.
struct OutputGradientRow<'a> {
    gy: &'a [f32],
    output: &'a Image,
    top: usize,
    e: &'a mut [f32],
}

impl WithSimd for OutputGradientRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { gy, output, top, e } = self;
        let c = output.c;
        for (tile, e) in e.chunks_exact_mut(POSITIONS * c).enumerate() {
            for channel in (0..c).step_by(S::F32_LANES) {
                let mut gradients = [simd.splat_f32s(0.0); OUT * OUT];
                for (p, lanes) in gradients.iter_mut().enumerate() {
                    let (oy, ox) = (top + p / OUT, tile * OUT + p % OUT);
                    if oy < output.h && ox < output.w {
                        *lanes = load::<S>(gy, (oy * output.w + ox) * c + channel);
                    }
                }
                let spread = both_sides::<S, OutputAdjoint, OUT, IN, 16, 24, POSITIONS>(simd, gradients);
                for (p, lanes) in spread.into_iter().enumerate() {
                    store::<S>(e, p * c + channel, lanes);
                }
            }
        }
    }
}

/// G g Gᵀ of every kernel of `weight[co, ci, 3, 3]`, as `[36, ci, co]`; for the input gradient the kernels
/// are turned by 180° and lie as `[36, co, ci]`.
fn transform_kernels(weight: &[f32], ci: usize, co: usize, turned: bool) -> Vec<f32> {
    let (from, to) = if turned { (co, ci) } else { (ci, co) };
    // Strides of the two roles in `weight`.
    let strides = if turned { (ci * 9, 9) } else { (9, ci * 9) };
    // One block of lanes after another, each `[from, 36, LANES]`: blocks are written by separate threads.
    let mut by_block = vec![0.0; POSITIONS * from * to];
    by_block.par_chunks_mut(from * POSITIONS * LANES).enumerate().for_each(|(block, out)| {
        let weight = &weight[block * LANES * strides.1..];
        Arch::new().dispatch(KernelBlock { weight, strides, turned, out });
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

/// The kernels of [`LANES`] values of the second role, as `[from, 36, LANES]`.
struct KernelBlock<'a> {
    weight: &'a [f32],
    strides: (usize, usize),
    turned: bool,
    out: &'a mut [f32],
}

impl WithSimd for KernelBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weight, strides, turned, out } = self;
        for (f, out) in out.chunks_exact_mut(POSITIONS * LANES).enumerate() {
            let mut taps = [[0f32; LANES]; 9];
            for lane in 0..LANES {
                let kernel = &weight[f * strides.0 + lane * strides.1..][..9];
                for tap in 0..9 {
                    taps[if turned { 8 - tap } else { tap }][lane] = kernel[tap];
                }
            }
            for lane in (0..LANES).step_by(S::F32_LANES) {
                let mut kernel = [simd.splat_f32s(0.0); 9];
                for (tap, lanes) in kernel.iter_mut().enumerate() {
                    *lanes = load::<S>(&taps[tap], lane);
                }
                let tile = both_sides::<S, KernelTransform, 3, IN, 9, 18, POSITIONS>(simd, kernel);
                for (p, lanes) in tile.into_iter().enumerate() {
                    store::<S>(out, p * LANES + lane, lanes);
                }
            }
        }
    }
}

/// Gᵀ s G of every kernel's sums `[36, ci, co]`, as `[co, ci, 3, 3]`.
fn gather_kernel_gradients(sums: &[f32], ci: usize, co: usize) -> Vec<f32> {
    let mut gradient = vec![0.0; co * ci * 9];
    gradient.par_chunks_mut(LANES * ci * 9).enumerate().for_each(|(block, out)| {
        Arch::new().dispatch(KernelGradientBlock { sums, ci, co, first: block * LANES, out });
    });
    gradient
}

/// The gradients of [`LANES`] kernels.
struct KernelGradientBlock<'a> {
    sums: &'a [f32],
    ci: usize,
    co: usize,
    first: usize,
    out: &'a mut [f32],
}

impl WithSimd for KernelGradientBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { sums, ci, co, first, out } = self;
        for c in 0..ci {
            let mut taps = [[0f32; LANES]; 9];
            for lane in (0..LANES).step_by(S::F32_LANES) {
                let mut tile = [simd.splat_f32s(0.0); POSITIONS];
                for (p, lanes) in tile.iter_mut().enumerate() {
                    *lanes = load::<S>(sums, (p * ci + c) * co + first + lane);
                }
                let kernel = both_sides::<S, KernelAdjoint, IN, 3, POSITIONS, 18, 9>(simd, tile);
                for (tap, lanes) in taps.iter_mut().zip(kernel) {
                    store::<S>(tap, lane, lanes);
                }
            }
            for (lane, out) in out.chunks_exact_mut(ci * 9).enumerate() {
                for tap in 0..9 {
                    out[c * 9 + tap] = taps[tap][lane];
                }
            }
        }
    }
}

#[inline(always)]
fn load<S: Simd>(numbers: &[f32], start: usize) -> S::f32s {
    S::as_simd_f32s(&numbers[start..start + S::F32_LANES]).0[0]
}

#[inline(always)]
fn store<S: Simd>(numbers: &mut [f32], start: usize, lanes: S::f32s) {
    S::as_mut_simd_f32s(&mut numbers[start..start + S::F32_LANES]).0[0] = lanes;
}

/// A one-dimensional transform of `N` vectors to `M`. A trait and not a closure: a closure that is not
/// inlined would lose the wide instructions.
trait Transform<const N: usize, const M: usize> {
    fn line<S: Simd>(simd: S, from: [S::f32s; N]) -> [S::f32s; M];
}

/// Apply a transform to the columns, then to the rows, of an `N`x`N` tile.
#[inline(always)]
fn both_sides<
    S: Simd,
    T: Transform<N, M>,
    const N: usize,
    const M: usize,
    const NN: usize,
    const MN: usize,
    const MM: usize,
>(
    simd: S,
    tile: [S::f32s; NN],
) -> [S::f32s; MM] {
    let mut line = [simd.splat_f32s(0.0); N];
    let mut half = [simd.splat_f32s(0.0); MN];
    for column in 0..N {
        for row in 0..N {
            line[row] = tile[row * N + column];
        }
        let done = T::line(simd, line);
        for row in 0..M {
            half[row * N + column] = done[row];
        }
    }
    let mut whole = [simd.splat_f32s(0.0); MM];
    for row in 0..M {
        for column in 0..N {
            line[column] = half[row * N + column];
        }
        let done = T::line(simd, line);
        for column in 0..M {
            whole[row * M + column] = done[column];
        }
    }
    whole
}

/// a + factor · b.
#[inline(always)]
fn add<S: Simd>(simd: S, a: S::f32s, factor: f32, b: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(simd.splat_f32s(factor), b, a)
}

/// factor · a.
#[inline(always)]
fn times<S: Simd>(simd: S, factor: f32, a: S::f32s) -> S::f32s {
    simd.mul_f32s(simd.splat_f32s(factor), a)
}

/// Bᵀ d.
struct InputTransform;

impl Transform<IN, IN> for InputTransform {
    #[inline(always)]
    fn line<S: Simd>(simd: S, d: [S::f32s; IN]) -> [S::f32s; IN] {
        let (low, high) = (add(simd, d[4], -4.0, d[2]), add(simd, d[3], -4.0, d[1]));
        let (even, odd) = (simd.sub_f32s(d[4], d[2]), simd.sub_f32s(d[3], d[1]));
        [
            add(simd, add(simd, d[4], 4.0, d[0]), -5.0, d[2]),
            simd.add_f32s(low, high),
            simd.sub_f32s(low, high),
            add(simd, even, 2.0, odd),
            add(simd, even, -2.0, odd),
            add(simd, add(simd, d[5], 4.0, d[1]), -5.0, d[3]),
        ]
    }
}

/// Aᵀ m.
struct OutputTransform;

impl Transform<IN, OUT> for OutputTransform {
    #[inline(always)]
    fn line<S: Simd>(simd: S, m: [S::f32s; IN]) -> [S::f32s; OUT] {
        let (a, b) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
        let (c, d) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
        [
            simd.add_f32s(m[0], simd.add_f32s(a, c)),
            add(simd, b, 2.0, d),
            add(simd, a, 4.0, c),
            simd.add_f32s(m[5], add(simd, b, 8.0, d)),
        ]
    }
}

/// A y: the adjoint of [`OutputTransform`].
struct OutputAdjoint;

impl Transform<OUT, IN> for OutputAdjoint {
    #[inline(always)]
    fn line<S: Simd>(simd: S, y: [S::f32s; OUT]) -> [S::f32s; IN] {
        let (a, b) = (simd.add_f32s(y[0], y[2]), simd.add_f32s(y[1], y[3]));
        let c = add(simd, y[0], 4.0, y[2]);
        let d = add(simd, simd.add_f32s(y[1], y[1]), 8.0, y[3]);
        [y[0], simd.add_f32s(a, b), simd.sub_f32s(a, b), simd.add_f32s(c, d), simd.sub_f32s(c, d), y[3]]
    }
}

const SIXTH: f32 = 1.0 / 6.0;
const TWELFTH: f32 = 1.0 / 12.0;
const TWENTY_FOURTH: f32 = 1.0 / 24.0;

/// G g.
struct KernelTransform;

impl Transform<3, IN> for KernelTransform {
    #[inline(always)]
    fn line<S: Simd>(simd: S, g: [S::f32s; 3]) -> [S::f32s; IN] {
        let outer = times(simd, -SIXTH, simd.add_f32s(g[0], g[2]));
        let inner = add(simd, times(simd, TWENTY_FOURTH, g[0]), SIXTH, g[2]);
        [
            times(simd, 0.25, g[0]),
            add(simd, outer, -SIXTH, g[1]),
            add(simd, outer, SIXTH, g[1]),
            add(simd, inner, TWELFTH, g[1]),
            add(simd, inner, -TWELFTH, g[1]),
            g[2],
        ]
    }
}

/// Gᵀ s: the adjoint of [`KernelTransform`].
struct KernelAdjoint;

impl Transform<IN, 3> for KernelAdjoint {
    #[inline(always)]
    fn line<S: Simd>(simd: S, s: [S::f32s; IN]) -> [S::f32s; 3] {
        let (outer, inner) = (simd.add_f32s(s[1], s[2]), simd.add_f32s(s[3], s[4]));
        let outer_difference = simd.sub_f32s(s[2], s[1]);
        let inner_difference = simd.sub_f32s(s[3], s[4]);
        [
            add(simd, add(simd, times(simd, 0.25, s[0]), -SIXTH, outer), TWENTY_FOURTH, inner),
            add(simd, times(simd, SIXTH, outer_difference), TWELFTH, inner_difference),
            add(simd, s[5], SIXTH, simd.sub_f32s(inner, outer)),
        ]
    }
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
