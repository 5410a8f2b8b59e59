//! The Gaussian error linear unit (Hendrycks and Gimpel 2016, arXiv 1606.08415), with its exact gradient.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType};

use super::cpu::gelu as kernel;
use super::{slice, with_real, with_slice};

/// x · Φ(x), with Φ the normal distribution function.
///
/// # Errors
/// candle cannot make the tensor.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Gelu)
}

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = with_real!(x.dtype(), T => T::to_cpu_storage_owned(kernel::forward::<T>(slice(x, layout)?)));
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gy: &Tensor) -> Result<Option<Tensor>> {
        let gy = gy.contiguous()?;
        let gradient = || {
            with_real!(x.dtype(), T => {
                let gx = with_slice(x, |x| with_slice(&gy, |gy| kernel::gradient::<T>(x, gy)))??;
                Tensor::from_vec(gx, x.shape(), x.device())
            })
        };
        x.track_op().then(gradient).transpose()
    }
}
