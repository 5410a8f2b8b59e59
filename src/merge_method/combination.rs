//! Sums of tensors with a number for each, which most methods come down to.

use candle_core::{DType, Result, Tensor, bail};

/// Σ_i c_i · T_i, in the order of the terms.
///
/// # Errors
/// There are no terms, or they are of different shapes, types or devices.
pub(super) fn combination<'a>(terms: impl IntoIterator<Item = (&'a Tensor, f64)>) -> Result<Tensor> {
    let mut terms = terms.into_iter();
    let Some((first, factor)) = terms.next() else { bail!("there is nothing to add up") };
    let mut sum = (first * factor)?;
    for (tensor, factor) in terms {
        sum = (sum + (tensor * factor)?)?;
    }
    Ok(sum)
}

/// The mean of tensors.
///
/// # Errors
/// As of [`combination`].
pub(super) fn mean(tensors: &[Tensor]) -> Result<Tensor> {
    let share = 1.0 / tensors.len() as f64;
    combination(tensors.iter().map(|tensor| (tensor, share)))
}

/// The tensor's numbers, row by row, in f32, as checkpoints have them.
///
/// # Errors
/// They cannot be copied to the processor.
pub(super) fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()
}

/// A tensor of these numbers, otherwise like another.
///
/// # Errors
/// There are too many or too few, or the device has no memory.
pub(super) fn tensor_like(like: &Tensor, numbers: Vec<f32>) -> Result<Tensor> {
    Tensor::from_vec(numbers, like.shape(), like.device())?.to_dtype(like.dtype())
}

/// The common start, which a method needs.
///
/// # Errors
/// There is none.
pub(super) fn start<'a>(name: &str, base: Option<&'a Tensor>) -> Result<&'a Tensor> {
    match base {
        Some(base) => Ok(base),
        None => bail!("the method needs the common start of all sources, and there is none for `{name}`"),
    }
}

/// Σ_i a_i · b_i in f64.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
