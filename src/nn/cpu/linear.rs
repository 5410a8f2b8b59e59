//! Linear maps of the rows of a matrix.

use rayon::prelude::*;

use super::batch_norm::{Gradient, Map, sums};
use super::matmul::{Matrix, PANEL, Panels, pack_panel};
use super::scratch::Scratch;
use super::{Finish, Real, widest, written_by_pieces};

/// Rows per task.
const ROWS: usize = 96;
/// Maximum rows of the weight gradient per task.
const OUTPUTS: usize = 48;
/// Minimum number of tasks of a weight gradient, if it has enough rows.
const TASKS: usize = 8;

/// `x [rows, in] · weight [out, in]ᵀ`, finished by `finish`.
pub(crate) fn product<T: Real>(x: &[T], weight: &[T], inputs: usize, finish: Finish<'_, T>) -> Vec<T> {
    let outputs = weight.len() / inputs;
    let mut room = Scratch::new(0);
    let panels = pack(Matrix::rows(weight, inputs).transposed(), (inputs, outputs), &mut room);
    let fill = |i: usize, y: &mut [T]| {
        let x = Matrix::rows(&x[i * ROWS * inputs..], inputs);
        T::multiply(y.len() / outputs, y, outputs, x, panels, false);
        finish(i * ROWS * outputs, y);
    };
    // SAFETY: the product is written completely.
    unsafe { written_by_pieces(rows(x, inputs) * outputs, ROWS * outputs, fill) }
}

/// `x [rows, in] · weight [out, in]ᵀ + bias [out]`, plus a residual `[rows, out]` if given.
pub(crate) fn forward<T: Real>(x: &[T], weight: &[T], bias: &[T], residual: Option<&[T]>) -> Vec<T> {
    let outputs = bias.len();
    let inputs = weight.len().checked_div(outputs).unwrap_or(0);
    let mut room = Scratch::new(0);
    let panels = pack(Matrix::rows(weight, inputs).transposed(), (inputs, outputs), &mut room);
    let fill = |i: usize, y: &mut [T]| {
        let start = i * ROWS * outputs;
        let residual = residual.map(|residual| &residual[start..start + y.len()]);
        widest(bias_rows, (bias, residual, &mut *y));
        let x = Matrix::rows(&x[i * ROWS * inputs..], inputs);
        T::multiply(y.len() / outputs, y, outputs, x, panels, true);
    };
    // SAFETY: every row is written by `bias_rows`.
    unsafe { written_by_pieces(rows(x, inputs) * outputs, ROWS * outputs, fill) }
}

/// Fills rows with a bias, plus a residual if given.
#[inline(always)]
fn bias_rows<T: Real>((bias, residual, y): (&[T], Option<&[T]>, &mut [T])) {
    let rows = y.chunks_exact_mut(bias.len());
    match residual {
        None => rows.for_each(|y| y.copy_from_slice(bias)),
        Some(residual) => {
            for (y, residual) in rows.zip(residual.chunks_exact(bias.len())) {
                y.iter_mut().zip(bias.iter().zip(residual)).for_each(|(y, (bias, r))| *y = *bias + *r);
            }
        }
    }
}

/// Gradient with respect to `x`, given that of the output: `gy [rows, out] · weight [out, in]`.
pub(crate) fn input_gradient<T: Real>(gy: &[T], weight: &[T], inputs: usize) -> Vec<T> {
    let outputs = weight.len() / inputs;
    let mut room = Scratch::new(0);
    let panels = pack(Matrix::rows(weight, inputs), (outputs, inputs), &mut room);
    let fill = |i: usize, gx: &mut [T]| {
        let gy = Matrix::rows(&gy[i * ROWS * outputs..], outputs);
        T::multiply(gx.len() / inputs, gx, inputs, gy, panels, false);
    };
    // SAFETY: the product is written completely.
    unsafe { written_by_pieces(rows(gy, outputs) * inputs, ROWS * inputs, fill) }
}

/// Gradient with respect to `weight`: `gy [rows, out]ᵀ · x [rows, in]`.
pub(crate) fn weight_gradient<T: Real>(x: &[T], gy: &[T], (inputs, outputs): (usize, usize)) -> Vec<T> {
    let rows = rows(x, inputs);
    let mut room = Scratch::new(0);
    let panels = pack(Matrix::rows(x, inputs), (rows, inputs), &mut room);
    let block = (outputs / TASKS).next_multiple_of(12).clamp(12, OUTPUTS);
    let fill = |i: usize, gw: &mut [T]| {
        let gy = Matrix::rows(&gy[(i * block).min(gy.len())..], outputs).transposed();
        T::multiply(gw.len() / inputs, gw, inputs, gy, panels, false);
    };
    // SAFETY: the product is written completely.
    unsafe { written_by_pieces(outputs * inputs, block * inputs, fill) }
}

/// `x [rows, c] + bias [c]`.
pub(crate) fn add_bias<T: Real>(x: &[T], bias: &[T]) -> Vec<T> {
    let scale = vec![T::from_f64(1.0); bias.len()];
    Map { scale: &scale, shift: bias, residual: None, relu: false }.apply(x)
}

/// Gradient with respect to `bias`: the column sums.
pub(crate) fn bias_gradient<T: Real>(gy: &[T], outputs: usize) -> Vec<T> {
    let (zeros, ones) = (vec![T::zero(); outputs], vec![T::from_f64(1.0); outputs]);
    let (sums, _) = sums(Gradient { g: gy, y: None }, gy, &zeros, &ones);
    sums.into_iter().map(T::from_f64).collect()
}

fn rows<T>(x: &[T], columns: usize) -> usize {
    x.len().checked_div(columns).unwrap_or(0)
}

/// Packs the panels of a right matrix `[k, n]` on all threads.
fn pack<'a, T: Real>(
    matrix: Matrix<'_, T>,
    (k, n): (usize, usize),
    room: &'a mut Scratch<T>,
) -> Panels<'a, T> {
    *room = Scratch::new(Panels::<T>::len(n, k));
    room.par_chunks_mut((k * PANEL).max(1)).enumerate().for_each(|(p, panel)| {
        pack_panel(matrix, p * PANEL, n, panel);
    });
    Panels::packed(room, (k, n))
}
