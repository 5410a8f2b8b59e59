//! Few tiles with many channels: blocks of output channels, with their kernels in the cache.

use rayon::prelude::*;

use super::kernels::{gather_kernel_gradients, transform_block};
use super::tiles::{transform_inputs, transform_output_gradients, transform_output_row};
use super::{Image, Kernels, PANEL, POSITIONS, Tiles, output_pixels};
use crate::cpu::Finish;
use crate::cpu::matmul::{Matrix, Panels, multiply};
use crate::cpu::room::Room;
use crate::cpu::scratch::Scratch;

/// Elements of the transformed tiles handled at a time: they stay in the last-level cache.
const BUDGET: usize = 1 << 22;

/// Correlates `x` with kernels, padded with `padding` zeros on each side.
pub(super) fn correlate(
    x: &[f32],
    image: Image,
    kernels: &Kernels<'_>,
    padding: usize,
    finish: Finish<'_, f32>,
) -> Vec<f32> {
    let (c, to) = (image.c, kernels.to());
    let n = x.len() / image.len();
    let output = image.correlated(padding, to);
    let tiles = Tiles::covering(&output);
    let rows = n * tiles.rows;
    let batch = (BUDGET / (tiles.columns * POSITIONS * (c + to))).clamp(1, rows);
    let mut d = Scratch::new(batch * tiles.columns * POSITIONS * c);
    let mut m = Scratch::new(batch * tiles.columns * POSITIONS * to);
    let mut y = Room::new(n * output.len());
    let mut pixels = output_pixels(y.parts(), n, &output, &tiles);
    for first in (0..rows).step_by(batch) {
        let count = batch.min(rows - first);
        transform_inputs(x, &image, &tiles, first, count, padding, &mut d);
        let t = count * tiles.columns;
        let block = POSITIONS * t * PANEL;
        m[..block * to / PANEL].par_chunks_mut(block).enumerate().for_each(|(i, m)| {
            let mut transformed = Scratch::new(POSITIONS * c * PANEL);
            transform_block(kernels, i, &mut transformed);
            for (p, m) in m.chunks_exact_mut(t * PANEL).enumerate() {
                let lhs = Matrix::rows(&d[p * c..], POSITIONS * c);
                let kernels = Panels::packed(&transformed[p * c * PANEL..], (c, PANEL));
                multiply(t, m, PANEL, lhs, kernels, false);
            }
        });
        pixels[first..first + count].par_iter_mut().enumerate().for_each(|(r, y)| {
            let strides = (t * PANEL, block, PANEL);
            transform_output_row(&m, strides, &output, r * tiles.columns, tiles.columns, y, finish);
        });
    }
    // SAFETY: the pixels of all tile rows cover `y`, and each was written.
    unsafe { y.written() }
}

/// Gradient with respect to `weight`, given that of `y`: the sums of each block of kernels are computed and transformed
/// back while in the cache.
pub(super) fn weight_gradient(
    x: &[f32],
    gy: &[f32],
    (input, output): (Image, Image),
    padding: usize,
) -> Vec<f32> {
    let (ci, co) = (input.c, output.c);
    let tiles = Tiles::covering(&output);
    let rows = x.len() / input.len() * tiles.rows;
    let t = rows * tiles.columns;
    let mut d = Scratch::new(t * POSITIONS * ci);
    let mut e = Scratch::new(t * POSITIONS * co);
    transform_inputs(x, &input, &tiles, 0, rows, padding, &mut d);
    transform_output_gradients(gy, &output, &tiles, 0, rows, &mut e);
    let mut gradient = vec![0.0; co * ci * 9];
    gradient.par_chunks_mut(PANEL * ci * 9).enumerate().for_each(|(block, out)| {
        let mut sums = Scratch::new(POSITIONS * ci * PANEL);
        let mut room = Scratch::new(t * PANEL);
        for (p, sum) in sums.chunks_exact_mut(ci * PANEL).enumerate() {
            let d = Matrix::rows(&d[p * ci..], POSITIONS * ci).transposed();
            let e = Matrix::rows(&e[p * co + block * PANEL..], POSITIONS * co);
            multiply(ci, sum, PANEL, d, Panels::pack(e, (t, PANEL), &mut room), false);
        }
        gather_kernel_gradients(&sums, ci, (ci * PANEL, PANEL), out);
    });
    gradient
}
