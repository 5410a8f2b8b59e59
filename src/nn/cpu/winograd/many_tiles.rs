//! Many tiles with few channels: batches of tile rows, one matrix product per position.

use rayon::prelude::*;

use super::kernels::{gather_kernel_gradients, transform_block};
use super::tiles::{transform_input_row, transform_inputs, transform_output_gradients, transform_output_row};
use super::{BUDGET, Image, Kernels, PANEL, POSITIONS, Tiles, output_pixels};
use crate::cpu::Finish;
use crate::cpu::matmul::{Matrix, Panels, multiply};
use crate::cpu::room::Room;
use crate::cpu::scratch::Scratch;

/// Elements of the transformed tiles of one task: they stay in the second-level cache along with the kernels.
const TASK: usize = 1 << 17;

/// Correlates `x` with kernels, padded with `padding` zeros on each side.
pub(super) fn correlate(
    x: &[f32],
    image: Image,
    kernels: &Kernels<'_>,
    padding: usize,
    finish: Finish<'_, f32>,
) -> Vec<f32> {
    let (c, to) = (image.c, kernels.to());
    let transformed = transform_kernels(kernels);
    let n = x.len() / image.len();
    let output = image.correlated(padding, to);
    let tiles = Tiles::covering(&output);
    let rows = (TASK / (tiles.columns * POSITIONS * (c + to))).max(1);
    let mut y = Room::new(n * output.len());
    let mut pixels = output_pixels(y.parts(), n, &output, &tiles);
    pixels.par_chunks_mut(rows).enumerate().for_each(|(task, pixels)| {
        let t = pixels.len() * tiles.columns;
        let mut d = Scratch::new(POSITIONS * t * c);
        let mut m = Scratch::new(POSITIONS * t * to);
        for (r, d) in d.chunks_exact_mut(tiles.columns * POSITIONS * c).enumerate() {
            transform_input_row(x, &image, &tiles, task * rows + r, padding, d);
        }
        for (p, m) in m.chunks_exact_mut(t * to).enumerate() {
            let lhs = Matrix::rows(&d[p * c..], POSITIONS * c);
            let kernels = Panels::new(&transformed[p * c * PANEL..], (c, to), POSITIONS * c * PANEL, PANEL);
            multiply(t, m, to, lhs, kernels, false);
        }
        for (r, y) in pixels.iter_mut().enumerate() {
            let first = r * tiles.columns;
            transform_output_row(&m, (t * to, PANEL, to), &output, first, tiles.columns, y, finish);
        }
    });
    // SAFETY: the pixels of all tile rows cover `y`, and each was written.
    unsafe { y.written() }
}

/// Transforms all kernels: one block per [`PANEL`] output channels.
fn transform_kernels(kernels: &Kernels<'_>) -> Scratch<f32> {
    let block = POSITIONS * kernels.from() * PANEL;
    let mut transformed = Scratch::new(block * kernels.to() / PANEL);
    transformed.par_chunks_mut(block).enumerate().for_each(|(i, out)| transform_block(kernels, i, out));
    transformed
}

/// Gradient with respect to `weight`, given that of `y`.
pub(super) fn weight_gradient(
    x: &[f32],
    gy: &[f32],
    (input, output): (Image, Image),
    padding: usize,
) -> Vec<f32> {
    let (ci, co) = (input.c, output.c);
    let tiles = Tiles::covering(&output);
    let rows = x.len() / input.len() * tiles.rows;
    let batch = (BUDGET * 2 / (tiles.columns * POSITIONS * (ci + co))).clamp(1, rows);
    let mut d = Scratch::new(batch * tiles.columns * POSITIONS * ci);
    let mut e = Scratch::new(batch * tiles.columns * POSITIONS * co);
    let mut sums = Scratch::new(POSITIONS * ci * co);
    for first in (0..rows).step_by(batch) {
        let count = batch.min(rows - first);
        transform_inputs(x, &input, &tiles, first, count, padding, &mut d);
        transform_output_gradients(gy, &output, &tiles, first, count, &mut e);
        let t = count * tiles.columns;
        sums.par_chunks_mut(ci * co).enumerate().for_each(|(p, sum)| {
            let d = Matrix::rows(&d[p * ci..], POSITIONS * ci).transposed();
            let mut room = Scratch::new(Panels::<f32>::len(co, t));
            let e = Panels::pack(Matrix::rows(&e[p * co..], POSITIONS * co), (t, co), &mut room);
            multiply(ci, sum, co, d, e, first > 0);
        });
    }
    let mut gradient = vec![0.0; co * ci * 9];
    gradient.par_chunks_mut(PANEL * ci * 9).enumerate().for_each(|(block, out)| {
        gather_kernel_gradients(&sums[block * PANEL..], ci, (ci * co, co), out);
    });
    gradient
}
