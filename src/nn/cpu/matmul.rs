//! Matrix products for the small shapes of convolutions, on one thread.
//!
//! Most products here have 16 to 512 columns and as many inner terms, where a general library spends as
//! long on copying operands into its own order as on multiplying. Here the left matrix is read where it
//! lies and the right one is copied once, in panels of one or two vectors' width; a block of rows times a panel
//! stays in registers. The same shape gives the same bits.

use std::cell::RefCell;

use pulp::{Simd, WithSimd};

use super::Real;

/// A matrix inside a slice: element (i, j) stands at `i * row + j * column`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    data: &'a [T],
    row: usize,
    column: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Rows one after another, `stride` apart.
    pub(crate) fn rows(data: &'a [T], stride: usize) -> Self {
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

/// `dst = lhs · rhs`, or `dst += lhs · rhs` if `accumulate`; `dst` is `[m, n]` with rows `stride` apart, `lhs`
/// `[m, k]`, `rhs` `[k, n]`. Either `lhs` or its transpose must lie row after row.
pub(crate) fn matmul(
    size: (usize, usize, usize),
    dst: &mut [f32],
    stride: usize,
    lhs: Matrix<'_, f32>,
    rhs: Matrix<'_, f32>,
    accumulate: bool,
) {
    let (m, n, k) = size;
    if m == 0 || n == 0 || k == 0 {
        if !accumulate {
            dst.chunks_mut(stride.max(1)).take(m).for_each(|row| row[..n].fill(0.0));
        }
        return;
    }
    assert!(lhs.column == 1 || lhs.row == 1, "the left matrix or its transpose must lie row after row");
    PANELS.with_borrow_mut(|panels| {
        pulp::Arch::new().dispatch(Product { size, dst, stride, lhs, rhs, accumulate, panels });
    });
}

/// The same by the definition, for every type of numbers.
pub(crate) fn plain<T: Real>(
    (m, n, k): (usize, usize, usize),
    dst: &mut [T],
    stride: usize,
    lhs: Matrix<'_, T>,
    rhs: Matrix<'_, T>,
    accumulate: bool,
) {
    for (i, row) in dst.chunks_mut(stride.max(1)).take(m).enumerate() {
        let row = &mut row[..n];
        if !accumulate {
            row.fill(T::zero());
        }
        for l in 0..k {
            let factor = lhs.data[i * lhs.row + l * lhs.column];
            row.iter_mut()
                .enumerate()
                .for_each(|(j, sum)| *sum += factor * rhs.data[l * rhs.row + j * rhs.column]);
        }
    }
}

struct Product<'a> {
    size: (usize, usize, usize),
    dst: &'a mut [f32],
    stride: usize,
    lhs: Matrix<'a, f32>,
    rhs: Matrix<'a, f32>,
    accumulate: bool,
    /// Room for the right matrix.
    panels: &'a mut Vec<f32>,
}

/// No closures hold vector operations here: one that is not inlined would lose the wide instructions.
impl WithSimd for Product<'_> {
    type Output = ();

    /// Blocks of 6 rows and two vectors of columns, or of 12 rows and one vector where there are few columns:
    /// either way 12 vectors of sums stay in the registers.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.size.1 <= S::F32_LANES {
            self.panels_of::<S, 12, 1>(simd);
        } else {
            self.panels_of::<S, 6, 2>(simd);
        }
    }
}

/// Copy `rhs` into panels `[n / columns, k, columns]`, the last filled up with zeros.
#[inline(always)]
fn pack(rhs: Matrix<'_, f32>, n: usize, k: usize, columns: usize, panels: &mut [f32]) {
    for (p, panel) in panels.chunks_exact_mut(k * columns).enumerate() {
        let (first, width) = (p * columns, columns.min(n - p * columns));
        for (i, line) in panel.chunks_exact_mut(columns).enumerate() {
            let start = i * rhs.row + first * rhs.column;
            if rhs.column == 1 && width == columns {
                // An indexed loop of known length: a call to copy 128 bytes would cost more than the copy.
                for (to, from) in line.iter_mut().zip(&rhs.data[start..start + columns]) {
                    *to = *from;
                }
            } else {
                for (j, to) in line.iter_mut().enumerate() {
                    *to = if j < width { rhs.data[start + j * rhs.column] } else { 0.0 };
                }
            }
        }
    }
}

impl Product<'_> {
    /// The whole product by blocks of at most `R` rows and `V` vectors of columns.
    #[inline(always)]
    fn panels_of<S: Simd, const R: usize, const V: usize>(mut self, simd: S) {
        let (m, n, k) = self.size;
        let columns = V * S::F32_LANES;
        let needed = n.div_ceil(columns) * k * columns;
        let mut panels = std::mem::take(self.panels);
        if panels.len() < needed {
            panels.resize(needed, 0.0);
        }
        pack(self.rhs, n, k, columns, &mut panels[..needed]);
        for (p, panel) in panels[..needed].chunks_exact(k * columns).enumerate() {
            let (lines, _) = S::as_simd_f32s(panel);
            let first = p * columns;
            let mut row = 0;
            while row < m {
                row += if row + R <= m {
                    self.block::<S, R, V>(simd, row, first, lines)
                } else if row + 3 <= m {
                    self.block::<S, 3, V>(simd, row, first, lines)
                } else {
                    self.block::<S, 1, V>(simd, row, first, lines)
                };
            }
        }
        *self.panels = panels;
    }

    /// `R` rows of the product from `row` with the panel whose first column is `first`; returns `R`.
    #[inline(always)]
    fn block<S: Simd, const R: usize, const V: usize>(
        &mut self,
        simd: S,
        row: usize,
        first: usize,
        lines: &[S::f32s],
    ) -> usize {
        let k = self.size.2;
        let lhs = self.lhs;
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        if lhs.column == 1 {
            let mut rows: [&[f32]; R] = [&[]; R];
            for (i, line) in rows.iter_mut().enumerate() {
                *line = &lhs.data[(row + i) * lhs.row..][..k];
            }
            for (kk, line) in lines.chunks_exact(V).enumerate() {
                for (sums, row) in sums.iter_mut().zip(&rows) {
                    multiply_add(simd, sums, row[kk], line);
                }
            }
        } else {
            for (kk, line) in lines.chunks_exact(V).enumerate() {
                let column = &lhs.data[kk * lhs.column + row..][..R];
                for (sums, factor) in sums.iter_mut().zip(column) {
                    multiply_add(simd, sums, *factor, line);
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            self.write(simd, row + i, first, sums);
        }
        R
    }

    /// Put the sums of one row from column `first` into `dst`.
    #[inline(always)]
    fn write<S: Simd, const V: usize>(&mut self, simd: S, row: usize, first: usize, sums: &[S::f32s; V]) {
        let width = (V * S::F32_LANES).min(self.size.1 - first);
        let to = &mut self.dst[row * self.stride + first..][..width];
        if width == V * S::F32_LANES {
            let (to, _) = S::as_mut_simd_f32s(to);
            for (to, sum) in to.iter_mut().zip(sums) {
                *to = if self.accumulate { simd.add_f32s(*to, *sum) } else { *sum };
            }
        } else {
            let sums: &[f32] = bytemuck::cast_slice(sums);
            for (to, sum) in to.iter_mut().zip(sums) {
                *to = if self.accumulate { *to + sum } else { *sum };
            }
        }
    }
}

#[inline(always)]
fn multiply_add<S: Simd, const V: usize>(simd: S, sums: &mut [S::f32s; V], factor: f32, line: &[S::f32s]) {
    let factor = simd.splat_f32s(factor);
    for (sum, line) in sums.iter_mut().zip(line) {
        *sum = simd.mul_add_e_f32s(factor, *line, *sum);
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
