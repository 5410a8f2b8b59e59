//! Global gradient norm, and clipping like PyTorch's `clip_grad_norm_`.

use candle_core::{DType, Result, Storage, Tensor};
use rayon::prelude::*;

use super::in_place::{self, CHUNK};

/// Number of partial sums, so that the loop vectorizes; a constant, so that the order of additions, and hence the
/// result, is the same on every machine.
const LANES: usize = 16;

/// L2 norm of all gradients together, in f64. Gradients must be contiguous.
pub(super) fn global_norm(grads: &[Tensor]) -> Result<f64> {
    let (on_cpu, elsewhere): (Vec<_>, Vec<_>) = grads.iter().partition(|grad| in_place::applies_to(grad));
    let mut sum = 0.0;
    for grad in on_cpu {
        sum += sum_of_squares(grad)?;
    }
    if !elsewhere.is_empty() {
        sum += sum_of_squares_by_tensors(&elsewhere)?;
    }
    Ok(sum.sqrt())
}

/// The factor that scales gradients of this norm to `max_norm`; 1 if they do not exceed it.
pub(super) fn scale(norm: f64, max_norm: f64) -> f64 {
    (max_norm / (norm + 1e-6)).min(1.0)
}

fn sum_of_squares(grad: &Tensor) -> Result<f64> {
    let (storage, layout) = grad.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        candle_core::bail!("a gradient is not on the CPU");
    };
    let arch = pulp::Arch::new();
    let chunks = in_place::elements(storage, layout)?.par_chunks(CHUNK);
    let sums: Vec<f64> = chunks.map(|chunk| arch.dispatch(|| chunk_sum_of_squares(chunk))).collect();
    Ok(sums.iter().sum())
}

#[inline(always)]
fn chunk_sum_of_squares(chunk: &[f32]) -> f64 {
    let mut sums = [0.0; LANES];
    let (groups, rest) = chunk.as_chunks::<LANES>();
    for group in groups {
        for (sum, &x) in sums.iter_mut().zip(group) {
            *sum += f64::from(x) * f64::from(x);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>()
}

/// A single transfer from the device for all gradients.
fn sum_of_squares_by_tensors(grads: &[&Tensor]) -> Result<f64> {
    let sum = |grad: &&Tensor| grad.to_dtype(DType::F64)?.sqr()?.sum_all();
    let sums = grads.iter().map(sum).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::stack(&sums, 0)?.to_vec1::<f64>()?.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_norm_is_global_in_every_dtype() {
        let long: Vec<f32> = (0..CHUNK + 37).map(|i| (i as f32 * 0.37).sin()).collect();
        let want = long.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() + 25.0;
        let long = Tensor::new(long, &Device::Cpu).unwrap();
        let short = Tensor::new(&[3f32, 4.], &Device::Cpu).unwrap();
        let grads = [long, short];
        assert!((global_norm(&grads).unwrap() - want.sqrt()).abs() < 1e-10);
        let grads = grads.map(|grad| grad.to_dtype(DType::F64).unwrap());
        assert!((global_norm(&grads).unwrap() - want.sqrt()).abs() < 1e-10);
    }

    #[test]
    fn gradients_are_scaled_down_and_never_up() {
        assert_eq!(scale(0.5, 1.0), 1.0);
        assert_eq!(scale(0.0, 1.0), 1.0);
        assert!((scale(10.0, 1.0) - 0.1).abs() < 1e-7);
    }
}
