//! Transforms of image tiles to and from the Winograd domain.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::transform::{InputTransform, OutputAdjoint, OutputTransform, both_sides, load, store};
use super::{IN, Image, OUT, OutputPixels, PANEL, POSITIONS, Tiles};
use crate::cpu::Finish;
use crate::cpu::room::to_be_written;

/// Fills `d[tile, 36, c]` with Bᵀ d B for `count` tile rows from `first`.
pub(super) fn transform_inputs(
    x: &[f32],
    image: &Image,
    tiles: &Tiles,
    first: usize,
    count: usize,
    padding: usize,
    d: &mut [f32],
) {
    let row_len = tiles.columns * POSITIONS * image.c;
    d[..count * row_len].par_chunks_mut(row_len).enumerate().for_each(|(r, d)| {
        transform_input_row(x, image, tiles, first + r, padding, d);
    });
}

/// Fills `d[tile, 36, c]` with Bᵀ d B for one tile row, counted over all images.
pub(super) fn transform_input_row(
    x: &[f32],
    image: &Image,
    tiles: &Tiles,
    row: usize,
    padding: usize,
    d: &mut [f32],
) {
    let (n, top) = (row / tiles.rows, row % tiles.rows * OUT);
    let x = &x[n * image.len()..][..image.len()];
    Arch::new().dispatch(InputRow { x, image, top, padding, d });
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

/// Writes Aᵀ m A of each tile of one tile row to its output pixels, and finishes them. `m` holds [`PANEL`] contiguous
/// channels for each position, panel of channels and tile, with these strides; `first` is the first tile of the row.
pub(super) fn transform_output_row(
    m: &[f32],
    strides: (usize, usize, usize),
    output: &Image,
    first: usize,
    columns: usize,
    pixels: &mut OutputPixels<'_>,
    finish: Finish<'_, f32>,
) {
    // SAFETY: the tiles cover the row, so every element is written, and none is read before.
    let y = unsafe { to_be_written(pixels.elements) };
    Arch::new().dispatch(OutputRow { m, strides, output, first, columns, y });
    finish(pixels.start, y);
}

/// The output tiles of one tile row.
struct OutputRow<'a> {
    m: &'a [f32],
    strides: (usize, usize, usize),
    output: &'a Image,
    first: usize,
    columns: usize,
    y: &'a mut [f32],
}

impl WithSimd for OutputRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { m, strides, output, first, columns, y } = self;
        let (to, width) = (output.c, output.w);
        let height = y.len() / (width * to);
        for tile in 0..columns {
            for channel in (0..to).step_by(S::F32_LANES) {
                let (panel, lane) = (channel / PANEL, channel % PANEL);
                let start = panel * strides.1 + (first + tile) * strides.2 + lane;
                let mut products = [simd.splat_f32s(0.0); POSITIONS];
                for (p, lanes) in products.iter_mut().enumerate() {
                    *lanes = load::<S>(m, p * strides.0 + start);
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

/// Fills `e[tile, 36, c]` with A gy Aᵀ for `count` tile rows from `first`.
pub(super) fn transform_output_gradients(
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

/// The output gradient tiles of one tile row.
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
