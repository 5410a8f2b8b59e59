//! Singular vectors of a tensor as a matrix: a row per kernel (output channel), a column per input weight.

use candle_core::{DType, Device, Result, Tensor};
use nalgebra::{DMatrix, SymmetricEigen};

use super::combination::combination;

/// Singular values below this share of the largest are rounding errors of f32: their directions are left out.
const RANK: f64 = 1e-6;

/// A ≈ U · diag(σ) · V: the singular values above rounding errors, in falling order, and their vectors.
pub(super) struct Singular {
    /// `[rows, rank]`, orthonormal columns.
    pub(super) u: Tensor,
    /// `[rank]`.
    pub(super) values: Vec<f64>,
    /// `[rank, columns]`, orthonormal rows.
    pub(super) v: Tensor,
}

/// B + λ · M, where M is made of the task vectors τ_i = S_i − B as matrices `[d0, d1 · d2 · …]` in f64 on the CPU. Tensors
/// of one dimension are averaged.
///
/// # Errors
/// A tensor operation failed.
pub(super) fn merge_matrices(
    base: &Tensor,
    sources: &[Tensor],
    scaling: f64,
    merge: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<Tensor> {
    if base.rank() < 2 {
        let share = scaling / sources.len() as f64;
        return combination(
            [(base, 1.0 - scaling)].into_iter().chain(sources.iter().map(|one| (one, share))),
        );
    }
    let wide = |tensor: &Tensor| tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_from(1);
    let start = wide(base)?;
    let task_vectors = sources.iter().map(|source| wide(source)? - &start).collect::<Result<Vec<_>>>()?;
    let merged = (start + (merge(&task_vectors)? * scaling)?)?;
    merged.reshape(base.shape())?.to_dtype(base.dtype())?.to_device(base.device())
}

/// The singular value decomposition of a matrix in f64, without its null space.
///
/// It is computed from the eigenvectors of A Aᵀ or Aᵀ A, whichever is smaller; f64 leaves singular values of f32
/// weights right to their last digits.
///
/// # Errors
/// A tensor operation failed.
pub(super) fn singular(matrix: &Tensor) -> Result<Singular> {
    let (rows, columns) = matrix.dims2()?;
    if rows <= columns {
        let (u, values) = left(matrix)?;
        let v = u.t()?.matmul(matrix)?.broadcast_div(&column(&values)?)?;
        return Ok(Singular { u, values, v });
    }
    let (v, values) = left(&matrix.t()?.contiguous()?)?;
    let u = matrix.matmul(&v)?.broadcast_div(&column(&values)?.t()?)?;
    Ok(Singular { u, values, v: v.t()?.contiguous()? })
}

/// The matrix with orthonormal rows or columns that is closest to a matrix: U V.
///
/// # Errors
/// A tensor operation failed.
pub(super) fn closest_orthogonal(matrix: &Tensor) -> Result<Tensor> {
    let Singular { u, v, .. } = singular(matrix)?;
    u.matmul(&v)
}

/// The left singular vectors, as columns, and the singular values.
fn left(matrix: &Tensor) -> Result<(Tensor, Vec<f64>)> {
    let n = matrix.dim(0)?;
    let products = matrix.matmul(&matrix.t()?)?.flatten_all()?.to_vec1::<f64>()?;
    let eigen = SymmetricEigen::new(DMatrix::from_vec(n, n, products));
    let value = |i: usize| eigen.eigenvalues[i].max(0.0).sqrt();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| value(j).total_cmp(&value(i)));
    let largest = order.first().map_or(0.0, |&i| value(i));
    order.retain(|&i| value(i) > RANK * largest);
    let vectors = (0..n).flat_map(|row| order.iter().map(move |&i| (row, i)));
    let vectors: Vec<f64> = vectors.map(|(row, i)| eigen.eigenvectors[(row, i)]).collect();
    let u = Tensor::from_vec(vectors, (n, order.len()), &Device::Cpu)?;
    Ok((u, order.into_iter().map(value).collect()))
}

/// Values as a matrix with one column.
pub(super) fn column(values: &[f64]) -> Result<Tensor> {
    Tensor::from_slice(values, (values.len(), 1), &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(shape: (usize, usize)) -> Tensor {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f64 / f64::from(1 << 24) - 0.5
        };
        Tensor::from_vec((0..shape.0 * shape.1).map(|_| next()).collect(), shape, &Device::Cpu).unwrap()
    }

    fn largest(tensor: &Tensor) -> f64 {
        tensor.abs().unwrap().max_all().unwrap().to_scalar().unwrap()
    }

    #[test]
    fn the_parts_give_the_matrix_and_are_orthonormal() {
        let low = random((9, 2)).matmul(&random((2, 7))).unwrap();
        for (matrix, rank) in [(random((6, 11)), 6), (random((11, 6)), 6), (random((1, 5)), 1), (low, 2)] {
            let Singular { u, values, v } = singular(&matrix).unwrap();
            assert_eq!(values.len(), rank);
            assert!(values.is_sorted_by(|a, b| a >= b));
            let again = u.matmul(&column(&values).unwrap().broadcast_mul(&v).unwrap()).unwrap();
            assert!(largest(&(again - matrix).unwrap()) < 1e-9);
            let one = Tensor::eye(rank, DType::F64, &Device::Cpu).unwrap();
            assert!(largest(&(u.t().unwrap().matmul(&u).unwrap() - &one).unwrap()) < 1e-8);
            assert!(largest(&(v.matmul(&v.t().unwrap()).unwrap() - &one).unwrap()) < 1e-8);
        }
    }

    #[test]
    fn zeros_have_no_directions() {
        let zeros = Tensor::zeros((3, 4), DType::F64, &Device::Cpu).unwrap();
        assert_eq!(singular(&zeros).unwrap().values.len(), 0);
        assert_eq!(largest(&closest_orthogonal(&zeros).unwrap()), 0.0);
    }
}
