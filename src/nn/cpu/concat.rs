//! Concatenation of rows.

use super::{Real, by_pieces, written_by_pieces};

/// Rows per task.
const ROWS: usize = 256;

/// Concatenates `[rows, a]` and `[rows, b]` to `[rows, a + b]`.
pub(crate) fn forward<T: Real>(left: &[T], right: &[T], (a, b): (usize, usize)) -> Vec<T> {
    let width = a + b;
    let fill = |i: usize, y: &mut [T]| {
        let rows = left[i * ROWS * a..].chunks_exact(a).zip(right[i * ROWS * b..].chunks_exact(b));
        for (y, (left, right)) in y.chunks_exact_mut(width).zip(rows) {
            y[..a].copy_from_slice(left);
            y[a..].copy_from_slice(right);
        }
    };
    // SAFETY: every row is written.
    unsafe { written_by_pieces(left.len() + right.len(), ROWS * width, fill) }
}

/// Columns from `start` of `[rows, width]`, as `[rows, columns]`.
pub(crate) fn columns<T: Real>(x: &[T], width: usize, start: usize, columns: usize) -> Vec<T> {
    let fill = |i: usize, y: &mut [T]| {
        let rows = x[i * ROWS * width..].chunks_exact(width);
        for (y, row) in y.chunks_exact_mut(columns).zip(rows) {
            y.copy_from_slice(&row[start..start + columns]);
        }
    };
    // SAFETY: every row is written.
    unsafe { written_by_pieces(x.len() / width * columns, ROWS * columns, fill) }
}

/// `[rows, columns]` as the first columns of `[rows, width]`, zeros elsewhere: the adjoint of [`columns`] from 0.
pub(crate) fn first_columns<T: Real>(x: &[T], columns: usize, width: usize) -> Vec<T> {
    by_pieces(x.len() / columns * width, ROWS * width, |i, y| {
        let rows = x[i * ROWS * columns..].chunks_exact(columns);
        for (y, row) in y.chunks_exact_mut(width).zip(rows) {
            y[..columns].copy_from_slice(row);
        }
    })
}
