//! Linear combinations of tensors, the basis of most methods.

use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor, bail};

/// Σ_i c_i · T_i, in the order of the terms.
///
/// # Errors
/// There are no terms, or their shapes, types or devices differ.
pub(super) fn combination<'a>(terms: impl IntoIterator<Item = (&'a Tensor, f64)>) -> Result<Tensor> {
    let terms: Vec<(&Tensor, f64)> = terms.into_iter().collect();
    let Some(&(first, factor)) = terms.first() else { bail!("a sum needs at least one term") };
    if let Some(sum) = in_one_pass(&terms) {
        return Tensor::from_vec(sum, first.shape(), &Device::Cpu);
    }
    let mut sum = (first * factor)?;
    for (tensor, factor) in &terms[1..] {
        sum = (sum + (*tensor * *factor)?)?;
    }
    Ok(sum)
}

/// The same bits in one pass over memory, for f32 on the CPU, where memory bandwidth is the bottleneck.
fn in_one_pass(terms: &[(&Tensor, f64)]) -> Option<Vec<f32>> {
    /// Elements per piece, which stays in the L1 cache until the last term is added.
    const PIECE: usize = 1 << 11;
    let stored: Vec<_> = terms.iter().map(|(tensor, _)| tensor.storage_and_layout()).collect();
    let slices = stored.iter().map(|(storage, layout)| match (&**storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(elements)), Some((start, end))) => Some(&elements[start..end]),
        _ => None,
    });
    let slices = slices.collect::<Option<Vec<&[f32]>>>()?;
    let shape = terms[0].0.shape();
    if terms.iter().any(|(tensor, _)| tensor.shape() != shape) {
        return None;
    }
    // candle multiplies and then adds 0, which turns -0 into 0
    let factors: Vec<f32> = terms.iter().map(|(_, factor)| *factor as f32).collect();
    let mut sum = Vec::with_capacity(slices[0].len());
    for start in (0..slices[0].len()).step_by(PIECE) {
        let piece = |slice: &'_ [f32]| start..slice.len().min(start + PIECE);
        sum.extend(slices[0][piece(slices[0])].iter().map(|number| number * factors[0] + 0.0));
        for (slice, factor) in slices.iter().zip(&factors).skip(1) {
            let sums = sum[start..].iter_mut();
            sums.zip(&slice[piece(slice)]).for_each(|(sum, number)| *sum += number * factor + 0.0);
        }
    }
    Some(sum)
}

/// The mean of tensors.
///
/// # Errors
/// See [`combination`].
pub(super) fn mean(tensors: &[Tensor]) -> Result<Tensor> {
    let share = 1.0 / tensors.len() as f64;
    combination(tensors.iter().map(|tensor| (tensor, share)))
}

/// The tensor's elements, row-major, in f32.
///
/// # Errors
/// They cannot be copied to the CPU.
pub(super) fn elements(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()
}

/// A tensor of these elements with the shape, type and device of another.
///
/// # Errors
/// The number of elements does not match, or the device is out of memory.
pub(super) fn tensor_like(like: &Tensor, elements: Vec<f32>) -> Result<Tensor> {
    Tensor::from_vec(elements, like.shape(), like.device())?.to_dtype(like.dtype())
}

/// The common start, for a method that needs one.
///
/// # Errors
/// There is none for this tensor.
pub(super) fn start<'a>(name: &str, base: Option<&'a Tensor>) -> Result<&'a Tensor> {
    match base {
        Some(base) => Ok(base),
        None => bail!("the method needs the common start of all sources, but there is none for `{name}`"),
    }
}

/// Σ_i a_i · b_i in f64.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pass_gives_the_bits_of_candles_operators() {
        let tensor = |seed: u32| {
            let number =
                |i: u32| ((i + seed).wrapping_mul(2_654_435_761) as f32 / 1e9 - 2.0) * (i % 3) as f32;
            Tensor::from_iter((0..6_000).map(number), &Device::Cpu).unwrap().reshape((60, 100)).unwrap()
        };
        let tensors = [tensor(1), tensor(2), tensor(3)];
        let factors = [0.3, -1.7, 1.0 / 3.0];
        let expected = factors[1..]
            .iter()
            .zip(&tensors[1..])
            .fold((&tensors[0] * factors[0]).unwrap(), |sum, (factor, tensor)| {
                (sum + (tensor * *factor).unwrap()).unwrap()
            });
        let found = in_one_pass(&tensors.iter().zip(factors).collect::<Vec<_>>()).unwrap();
        let bits = |elements: &[f32]| elements.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&elements(&expected).unwrap()));
    }

    #[test]
    fn tensors_that_are_not_contiguous_f32_are_summed_by_candle() {
        let tensor = Tensor::new(&[[1f64, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        let sum = combination([(&tensor, 2.0), (&tensor.t().unwrap(), 1.0)]).unwrap();
        assert_eq!(sum.to_vec2::<f64>().unwrap(), [[3.0, 7.0], [8.0, 12.0]]);
        let narrow = tensor.to_dtype(DType::F32).unwrap();
        assert!(combination([(&narrow, 1.0), (&narrow.narrow(0, 0, 1).unwrap(), 1.0)]).is_err());
    }
}
