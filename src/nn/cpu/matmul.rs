//! Matrix products for the small shapes of convolutions, on one thread.
//!
//! Most products here have 16 to 512 columns and as many inner terms, where a general library spends as
//! long on copying operands into its own order as on multiplying. Here the left matrix is read where it
//! lies and the right one is copied once, in panels of [`COLUMNS`] columns; a block of rows times a panel
//! stays in registers. The same shape gives the same bits.

use std::cell::RefCell;

use super::simd;

/// A matrix inside a slice: element (i, j) stands at `i * row + j * column`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    row: usize,
    column: usize,
}

impl<'a> Matrix<'a> {
    /// Rows one after another, `stride` apart.
    pub(crate) fn rows(data: &'a [f32], stride: usize) -> Self {
        Self { data, row: stride, column: 1 }
    }

    /// The same matrix with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self { data: self.data, row: self.column, column: self.row }
    }
}

thread_local! {
    /// The right matrix in panels.
    static PANELS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Columns of a panel: two of the widest vectors.
const COLUMNS: usize = 32;

/// `dst = lhs · rhs`, or `dst += lhs · rhs` if `accumulate`; `dst` is `[m, n]` with rows `stride` apart, `lhs`
/// `[m, k]`, `rhs` `[k, n]`. Either `lhs` or its transpose must lie row after row.
pub(crate) fn matmul(
    (m, n, k): (usize, usize, usize),
    dst: &mut [f32],
    stride: usize,
    lhs: Matrix<'_>,
    rhs: Matrix<'_>,
    accumulate: bool,
) {
    if k == 0 && !accumulate {
        dst.chunks_mut(stride.max(1)).take(m).for_each(|row| row[..n].fill(0.0));
    }
    PANELS.with_borrow_mut(|panels| {
        pack(rhs, n, k, panels);
        simd(|| {
            for (p, panel) in panels.chunks_exact((k * COLUMNS).max(1)).enumerate() {
                let columns = COLUMNS.min(n - p * COLUMNS);
                let mut row = 0;
                while row < m {
                    let mut out =
                        Out { data: &mut dst[row * stride + p * COLUMNS..], stride, columns, accumulate };
                    row += match m - row {
                        8.. => block::<8>(lhs, row, k, panel, &mut out),
                        4.. => block::<4>(lhs, row, k, panel, &mut out),
                        2.. => block::<2>(lhs, row, k, panel, &mut out),
                        _ => block::<1>(lhs, row, k, panel, &mut out),
                    };
                }
            }
        });
    });
}

/// Copy `rhs` into panels `[n / COLUMNS, k, COLUMNS]`, the last filled up with zeros.
fn pack(rhs: Matrix<'_>, n: usize, k: usize, panels: &mut Vec<f32>) {
    panels.clear();
    panels.resize(n.div_ceil(COLUMNS) * k * COLUMNS, 0.0);
    for (p, panel) in panels.chunks_exact_mut((k * COLUMNS).max(1)).enumerate() {
        let (first, columns) = (p * COLUMNS, COLUMNS.min(n - p * COLUMNS));
        for (i, line) in panel.chunks_exact_mut(COLUMNS).enumerate() {
            let start = i * rhs.row + first * rhs.column;
            if rhs.column == 1 {
                line[..columns].copy_from_slice(&rhs.data[start..start + columns]);
            } else {
                (0..columns).for_each(|j| line[j] = rhs.data[start + j * rhs.column]);
            }
        }
    }
}

/// Where a block of the product goes.
struct Out<'a> {
    data: &'a mut [f32],
    stride: usize,
    columns: usize,
    accumulate: bool,
}

/// `ROWS` rows of the product with one panel; returns `ROWS`.
#[inline(always)]
fn block<const ROWS: usize>(
    lhs: Matrix<'_>,
    row: usize,
    k: usize,
    panel: &[f32],
    out: &mut Out<'_>,
) -> usize {
    let mut sums = [[0f32; COLUMNS]; ROWS];
    let lines = panel.chunks_exact(COLUMNS);
    if lhs.column == 1 {
        let rows: [&[f32]; ROWS] = std::array::from_fn(|i| &lhs.data[(row + i) * lhs.row..][..k]);
        for (kk, line) in lines.enumerate() {
            multiply_add(&mut sums, std::array::from_fn(|i| rows[i][kk]), line);
        }
    } else {
        assert!(lhs.row == 1, "the left matrix or its transpose must lie row after row");
        for (kk, line) in lines.enumerate() {
            let column = &lhs.data[kk * lhs.column + row..][..ROWS];
            multiply_add(&mut sums, std::array::from_fn(|i| column[i]), line);
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        let to = &mut out.data[i * out.stride..][..out.columns];
        if out.accumulate {
            to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
        } else {
            to.copy_from_slice(&sums[..out.columns]);
        }
    }
    ROWS
}

#[inline(always)]
fn multiply_add<const ROWS: usize>(sums: &mut [[f32; COLUMNS]; ROWS], factors: [f32; ROWS], line: &[f32]) {
    for i in 0..ROWS {
        for j in 0..COLUMNS {
            sums[i][j] = factors[i].mul_add(line[j], sums[i][j]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_equals_the_definition_for_every_remainder_and_layout() {
        for (m, n, k) in [(1, 1, 1), (8, 32, 5), (13, 33, 7), (6, 70, 3), (3, 31, 64), (9, 32, 0)] {
            let a: Vec<f32> = (0..m * k).map(|i| (i as f32).sin()).collect();
            let b: Vec<f32> = (0..k * n).map(|i| (i as f32).cos()).collect();
            let at: Vec<f32> = (0..k * m).map(|i| a[(i % m) * k + i / m]).collect();
            let bt: Vec<f32> = (0..n * k).map(|i| b[(i % k) * n + i / k]).collect();
            let expected = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum::<f32>();
            for lhs in [Matrix::rows(&a, k), Matrix::rows(&at, m).transposed()] {
                for rhs in [Matrix::rows(&b, n), Matrix::rows(&bt, k).transposed()] {
                    let mut c = vec![1.0; m * (n + 2)];
                    matmul((m, n, k), &mut c, n + 2, lhs, rhs, false);
                    matmul((m, n, k), &mut c, n + 2, lhs, rhs, true);
                    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                        assert!((c[i * (n + 2) + j] - 2.0 * expected(i, j)).abs() < 1e-4, "{m} {n} {k}");
                    }
                    assert!(
                        (0..m).all(|i| c[i * (n + 2) + n] == 1.0),
                        "nothing beyond the product is written"
                    );
                }
            }
        }
    }
}
