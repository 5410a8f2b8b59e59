//! Linear maps and biases.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, D, Layout, Result, Shape, Tensor, WithDType, bail};

use super::cpu::batch_norm as kernel;
use super::{slice, with_real, with_slice};

/// `x [n, in] · weightᵀ + bias` of `weight [out, in]` and `bias [out]`: `[n, out]`.
///
/// # Errors
/// Shapes that do not fit together.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    add_bias(&x.matmul(&weight.t()?)?, bias)
}

/// `x [.., c] + bias [c]`.
///
/// # Errors
/// Shapes that do not fit together.
pub fn add_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if x.dim(D::Minus1)? != bias.elem_count() {
        bail!("a bias of {:?} does not fit {:?}", bias.shape(), x.shape());
    }
    x.contiguous()?.apply_op2(&bias.contiguous()?, AddBias)
}

struct AddBias;

impl CustomOp2 for AddBias {
    fn name(&self) -> &'static str {
        "add_bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        bias: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = with_real!(x.dtype(), T => {
            let bias: &[T] = slice(bias, bl)?;
            let ones = vec![T::from_f64(1.0); bias.len()];
            T::to_cpu_storage_owned(kernel::apply(slice(x, xl)?, &ones, bias, None, false))
        });
        Ok((y, xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gy = gy.contiguous()?;
        let sums = || -> Result<Tensor> {
            with_real!(bias.dtype(), T => {
                let n = bias.elem_count();
                let (zeros, ones) = (vec![T::from_f64(0.0); n], vec![T::from_f64(1.0); n]);
                let sum = |g: &[T]| kernel::sums(kernel::Gradient { g, y: None }, g, &zeros, &ones);
                let (sums, _) = with_slice(&gy, sum)?;
                let sums: Vec<T> = sums.into_iter().map(T::from_f64).collect();
                Tensor::from_vec(sums, bias.shape(), bias.device())
            })
        };
        let gbias = bias.track_op().then(sums).transpose()?;
        Ok((x.track_op().then_some(gy), gbias))
    }
}
