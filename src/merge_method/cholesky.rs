//! Linear systems with a symmetric positive definite matrix, in f64.

use rayon::prelude::*;

/// Columns per block, computed before the rows below them; a block fits into the CPU cache.
const BLOCK: usize = 32;

/// The lower triangle L of a matrix A = L·Lᵀ.
pub(super) struct Cholesky {
    n: usize,
    /// `[n, n]`, row-major; elements above the diagonal are unspecified.
    lower: Vec<f64>,
}

impl Cholesky {
    /// Factor `matrix [n, n]`, reading only its lower triangle; `None` if it is not positive definite. Each element is
    /// computed by one task in a fixed order.
    pub(super) fn factor(mut matrix: Vec<f64>, n: usize) -> Option<Self> {
        for first in (0..n).step_by(BLOCK) {
            let end = (first + BLOCK).min(n);
            let (above, below) = matrix.split_at_mut(end * n);
            for i in first..end {
                let (before, row) = above.split_at_mut(i * n);
                eliminate(&mut row[..n], before, n, first..i);
                let square = row[i] - dot(&row[..i], &row[..i]);
                row[i] = (square > 0.0 && square.is_finite()).then(|| square.sqrt())?;
            }
            below.par_chunks_mut(n).for_each(|row| eliminate(row, above, n, first..end));
        }
        Some(Self { n, lower: matrix })
    }

    /// Solve A·x = b in place: `b [n]` becomes x.
    pub(super) fn solve(&self, b: &mut [f64]) {
        for i in 0..self.n {
            let row = self.row(i);
            b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
        }
        for i in (0..self.n).rev() {
            let row = self.row(i);
            b[i] /= row[i];
            let (rest, solved) = b.split_at_mut(i);
            rest.iter_mut().zip(row).for_each(|(b, l)| *b -= solved[0] * l);
        }
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.lower[i * self.n..][..self.n]
    }
}

/// Compute `columns` of a row of L from the rows `above`, whose diagonal lies in these columns.
fn eliminate(row: &mut [f64], above: &[f64], n: usize, columns: std::ops::Range<usize>) {
    for j in columns {
        let other = &above[j * n..][..=j];
        row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
    }
}

/// The dot product, in eight partial sums that vectorize.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// M·Mᵀ + I for a matrix M of these elements.
    fn positive(elements: &[f64], n: usize) -> Vec<f64> {
        let at = |i: usize, j: usize| elements[(i * n + j) % elements.len()] * ((i * 7 + j * 3) as f64).sin();
        let product = |i: usize, j: usize| (0..n).map(|k| at(i, k) * at(j, k)).sum::<f64>();
        (0..n * n).map(|p| product(p / n, p % n) + f64::from(u8::from(p / n == p % n))).collect()
    }

    fn residual(matrix: &[f64], x: &[f64], b: &[f64]) -> f64 {
        let n = b.len();
        let row = |i: usize| matrix[i * n..][..n].iter().zip(x).map(|(a, x)| a * x).sum::<f64>();
        (0..n).map(|i| (row(i) - b[i]).abs()).fold(0.0, f64::max)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_solution_solves_the_equations(
            elements in prop::collection::vec(-3.0..3.0_f64, 50), n in 1..90_usize,
        ) {
            let matrix = positive(&elements, n);
            let b: Vec<f64> = (0..n).map(|i| (i as f64).cos()).collect();
            let mut x = b.clone();
            Cholesky::factor(matrix.clone(), n).unwrap().solve(&mut x);
            prop_assert!(residual(&matrix, &x, &b) < 1e-8);
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let matrix = positive(&[0.3, -1.2, 0.7], 200);
        let lower = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Cholesky::factor(matrix.clone(), 200).unwrap().lower)
        };
        assert!(lower(1) == lower(3));
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_has_no_factor() {
        assert!(Cholesky::factor(vec![1.0, 2.0, 2.0, 1.0], 2).is_none());
        assert!(Cholesky::factor(vec![0.0], 1).is_none());
        assert!(Cholesky::factor(vec![f64::NAN], 1).is_none());
        assert!(Cholesky::factor(Vec::new(), 0).is_some());
    }
}
