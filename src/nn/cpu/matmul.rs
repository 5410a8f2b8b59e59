//! Matrix products for the shapes of convolutions and linear layers, on one thread.
//!
//! Most products here have 16 to 512 columns and as many inner terms; a general library would spend as much time
//! copying operands into its own layout as multiplying. Here the left matrix is read in place. The right matrix is
//! stored as [`Panels`], which a caller makes once and uses for many left matrices; a block of a few rows times the
//! width of a panel stays in registers. The same shape gives the same bits.

use pulp::{Simd, WithSimd};

use super::Real;
use super::scratch::Scratch;

/// Columns of a panel: the lanes of the widest vector.
pub(crate) const PANEL: usize = 16;
/// Inner terms per block of columns: their part of the panels stays in the cache.
const DEPTH: usize = 512;

/// Maximum row stride, in elements, at which rows count as near.
const NEAR: usize = 256;

/// A matrix inside a slice: element (i, j) is at `i * row + j * column`.
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

    /// Whether `rows` rows of `columns` elements lie within the data.
    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0 || columns == 0 || (rows - 1) * self.row + (columns - 1) * self.column < self.data.len()
    }
}

/// A right matrix `[k, n]` in panels of [`PANEL`] columns: the elements of inner term i in panel p are contiguous and
/// start at `p * panel + i * term`.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a, T> {
    data: &'a [T],
    n: usize,
    k: usize,
    panel: usize,
    term: usize,
}

impl<'a, T: Real> Panels<'a, T> {
    /// Number of elements in the panels that [`pack`](Self::pack) makes of a matrix `[k, n]`.
    pub(crate) fn len(n: usize, k: usize) -> usize {
        n.next_multiple_of(PANEL) * k
    }

    /// Panels stored in `data`.
    pub(crate) fn new(data: &'a [T], (k, n): (usize, usize), panel: usize, term: usize) -> Self {
        let panels = n.div_ceil(PANEL);
        let end = if panels == 0 || k == 0 { 0 } else { (panels - 1) * panel + (k - 1) * term + PANEL };
        assert!(end <= data.len(), "the right matrix is larger than its data");
        Self { data, n, k, panel, term }
    }

    /// Panels one after another, `[k, PANEL]` each, as [`pack`](Self::pack) makes them.
    pub(crate) fn packed(data: &'a [T], (k, n): (usize, usize)) -> Self {
        Self::new(data, (k, n), k * PANEL, PANEL)
    }

    /// Copies a matrix into panels stored in `room`; the last panel is padded with zeros.
    pub(crate) fn pack(matrix: Matrix<'_, T>, (k, n): (usize, usize), room: &'a mut [T]) -> Self {
        for (p, panel) in room[..Self::len(n, k)].chunks_exact_mut((k * PANEL).max(1)).enumerate() {
            pack_panel(matrix, p * PANEL, n, panel);
        }
        Self::packed(room, (k, n))
    }

    /// A matrix as panels: in place if that is as fast, otherwise copied into `room`. Rows far apart would each touch a
    /// page of memory and compete for the same cache lines.
    pub(crate) fn from_matrix(
        matrix: Matrix<'a, T>,
        (k, n): (usize, usize),
        room: &'a mut Scratch<T>,
    ) -> Self {
        if matrix.column == 1 && matrix.row <= NEAR && n.is_multiple_of(PANEL) {
            return Self::new(matrix.data, (k, n), PANEL, matrix.row);
        }
        *room = Scratch::new(Self::len(n, k));
        Self::pack(matrix, (k, n), room)
    }
}

/// Copies the columns from `first` of a matrix with `n` columns into a panel `[k, PANEL]`.
pub(crate) fn pack_panel<T: Real>(matrix: Matrix<'_, T>, first: usize, n: usize, panel: &mut [T]) {
    let filled = PANEL.min(n - first);
    for (i, line) in panel.chunks_exact_mut(PANEL).enumerate() {
        let start = i * matrix.row + first * matrix.column;
        if matrix.column == 1 {
            line[..filled].copy_from_slice(&matrix.data[start..start + filled]);
        } else {
            for (j, to) in line[..filled].iter_mut().enumerate() {
                *to = matrix.data[start + j * matrix.column];
            }
        }
        line[filled..].fill(T::zero());
    }
}

/// See [`Real::multiply`].
pub(crate) fn multiply(
    m: usize,
    dst: &mut [f32],
    stride: usize,
    lhs: Matrix<'_, f32>,
    rhs: Panels<'_, f32>,
    accumulate: bool,
) {
    let Panels { n, k, .. } = rhs;
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 && !accumulate {
        dst.chunks_mut(stride.max(1)).take(m).for_each(|row| row[..n].fill(0.0));
    }
    assert!(lhs.holds(m, k), "the left matrix is larger than its data");
    pulp::Arch::new().dispatch(Product { m, dst, stride, lhs, rhs, accumulate });
}

/// The same by definition, for every element type.
pub(crate) fn plain<T: Real>(
    m: usize,
    dst: &mut [T],
    stride: usize,
    lhs: Matrix<'_, T>,
    rhs: Panels<'_, T>,
    accumulate: bool,
) {
    let Panels { n, k, .. } = rhs;
    for (i, row) in dst.chunks_mut(stride.max(1)).take(m).enumerate() {
        let row = &mut row[..n];
        if !accumulate {
            row.fill(T::zero());
        }
        for l in 0..k {
            let factor = lhs.data[i * lhs.row + l * lhs.column];
            for (p, sums) in row.chunks_mut(PANEL).enumerate() {
                let line = &rhs.data[p * rhs.panel + l * rhs.term..][..sums.len()];
                sums.iter_mut().zip(line).for_each(|(sum, x)| *sum += factor * *x);
            }
        }
    }
}

/// The arguments of [`multiply`]; `lhs` holds `[m, k]`.
struct Product<'a> {
    m: usize,
    dst: &'a mut [f32],
    stride: usize,
    lhs: Matrix<'a, f32>,
    rhs: Panels<'a, f32>,
    accumulate: bool,
}

/// Closures must not contain vector operations: one that is not inlined would lose the wide instructions.
impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Panels { n, k, .. } = self.rhs;
        let panels = n.div_ceil(PANEL);
        for depth in (0..k).step_by(DEPTH) {
            let mut panel = 0;
            while panel < panels {
                // The sums of a block take at most 24 of 32 registers, or 12 of 16.
                panel += match (S::F32_LANES, panels - panel) {
                    (16, 4..) => self.rows::<S, 6, 4>(simd, depth, panel),
                    (16, 3) => self.rows::<S, 8, 3>(simd, depth, panel),
                    (16, 2) => self.rows::<S, 12, 2>(simd, depth, panel),
                    (16, _) => self.rows::<S, 12, 1>(simd, depth, panel),
                    (8, _) => self.rows::<S, 6, 2>(simd, depth, panel),
                    (4, _) => self.rows::<S, 6, 4>(simd, depth, panel),
                    _ => self.rows::<S, 1, PANEL>(simd, depth, panel),
                }
            }
        }
    }
}

impl Product<'_> {
    /// All rows of the product, for inner terms from `depth` and `V` vectors of columns from panel `panel`, in blocks
    /// of `R` rows. Returns the number of panels.
    #[inline(always)]
    fn rows<S: Simd, const R: usize, const V: usize>(
        &mut self,
        simd: S,
        depth: usize,
        panel: usize,
    ) -> usize {
        let mut row = 0;
        while row < self.m {
            row += match self.m - row {
                left if left >= R => self.block::<S, R, V>(simd, row, depth, panel),
                left if left >= 4 && R > 4 => self.block::<S, 4, V>(simd, row, depth, panel),
                left if left >= 2 && R > 2 => self.block::<S, 2, V>(simd, row, depth, panel),
                _ => self.block::<S, 1, V>(simd, row, depth, panel),
            };
        }
        V * S::F32_LANES / PANEL
    }

    /// `R` rows from `row`; returns `R`.
    #[inline(always)]
    fn block<S: Simd, const R: usize, const V: usize>(
        &mut self,
        simd: S,
        row: usize,
        depth: usize,
        panel: usize,
    ) -> usize {
        let (lhs, rhs) = (self.lhs, self.rhs);
        let terms = DEPTH.min(rhs.k - depth);
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        if cfg!(any(test, debug_assertions)) && terms > 0 {
            let last = (V - 1) * S::F32_LANES;
            let last = (panel + last / PANEL) * rhs.panel + (depth + terms - 1) * rhs.term + last % PANEL;
            assert!(last + S::F32_LANES <= rhs.data.len(), "a vector on the right lies in its data");
            let last = (row + R - 1) * lhs.row + (depth + terms - 1) * lhs.column;
            assert!(last < lhs.data.len(), "an element on the left lies in its data");
        }
        // SAFETY: `row + R <= m` and `depth + terms <= k`, and `lhs` holds `[m, k]`: every element read on the left
        // lies in its data. `rhs` holds `k` terms of the panels that `V` vectors cover: every vector read on the right
        // lies in its data, and f32 vectors are read without alignment.
        unsafe {
            let left = lhs.data.as_ptr().add(row * lhs.row + depth * lhs.column);
            let right = rhs.data.as_ptr().add(panel * rhs.panel + depth * rhs.term);
            for term in 0..terms {
                let mut vectors = [simd.splat_f32s(0.0); V];
                for (v, vector) in vectors.iter_mut().enumerate() {
                    let (panel, lane) = (v * S::F32_LANES / PANEL, v * S::F32_LANES % PANEL);
                    let start = right.add(panel * rhs.panel + term * rhs.term + lane);
                    *vector = start.cast::<S::f32s>().read_unaligned();
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let factor = simd.splat_f32s(*left.add(r * lhs.row + term * lhs.column));
                    for (sum, vector) in sums.iter_mut().zip(vectors) {
                        *sum = simd.mul_add_e_f32s(factor, vector, *sum);
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            self.write(simd, row + r, panel * PANEL, sums, self.accumulate || depth > 0);
        }
        R
    }

    /// Writes the sums of one row from `column` to `dst`.
    #[inline(always)]
    fn write<S: Simd, const V: usize>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
        sums: &[S::f32s; V],
        add: bool,
    ) {
        let width = (V * S::F32_LANES).min(self.rhs.n - column);
        let to = &mut self.dst[row * self.stride + column..][..width];
        if width == V * S::F32_LANES {
            let (to, _) = S::as_mut_simd_f32s(to);
            for (to, sum) in to.iter_mut().zip(sums) {
                *to = if add { simd.add_f32s(*to, *sum) } else { *sum };
            }
        } else {
            let sums: &[f32] = bytemuck::cast_slice(sums);
            for (to, sum) in to.iter_mut().zip(sums) {
                *to = if add { *to + sum } else { *sum };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_the_definition_for_every_remainder_and_layout() {
        for (m, n, k) in
            [(1, 1, 1), (8, 32, 5), (13, 33, 7), (6, 70, 3), (3, 131, 64), (9, 32, 0), (7, 50, 1100)]
        {
            let a: Vec<f32> = (0..m * k).map(|i| (i as f32).sin()).collect();
            let b: Vec<f32> = (0..k * n).map(|i| (i as f32).cos()).collect();
            let at: Vec<f32> = (0..k * m).map(|i| a[(i % m) * k + i / m]).collect();
            let bt: Vec<f32> = (0..n * k).map(|i| b[(i % k) * n + i / k]).collect();
            let expected = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum::<f32>();
            for lhs in [Matrix::rows(&a, k), Matrix::rows(&at, m).transposed()] {
                for rhs in [Matrix::rows(&b, n), Matrix::rows(&bt, k).transposed()] {
                    let mut c = vec![1.0; m * (n + 2)];
                    f32::matmul((m, n, k), &mut c, n + 2, lhs, rhs, false);
                    f32::matmul((m, n, k), &mut c, n + 2, lhs, rhs, true);
                    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                        assert!((c[i * (n + 2) + j] - 2.0 * expected(i, j)).abs() < 1e-3, "{m} {n} {k}");
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
