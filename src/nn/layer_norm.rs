//! Layer normalisation (Ba et al. 2016, arXiv 1607.06450) with gradients.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail};

use super::cpu::layer_norm as kernel;
use super::{slice, with_real, with_slice};

/// Normalise each row of `x [.., c]` by its own mean and variance, scale by `weight [c]`, shift by `bias [c]`.
///
/// # Errors
/// Shapes that do not fit together.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, LayerNorm { eps })
}

struct LayerNorm {
    eps: f64,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        weight: &CpuStorage,
        wl: &Layout,
        bias: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if wl.dims() != bl.dims() || xl.dims().last() != wl.dims().last() {
            bail!("layer norm of {wl:?} and bias {bl:?} does not fit {xl:?}");
        }
        let y = with_real!(x.dtype(), T => {
            let y = kernel::forward::<T>(slice(x, xl)?, slice(weight, wl)?, slice(bias, bl)?, self.eps);
            T::to_cpu_storage_owned(y)
        });
        Ok((y, xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gy = gy.contiguous()?;
        with_real!(x.dtype(), T => {
            let gradients = |x: &[T], w: &[T], gy: &[T]| kernel::gradients(x, w, gy, self.eps);
            let (gx, gw, gb) =
                with_slice(x, |x| with_slice(weight, |w| with_slice(&gy, |gy| gradients(x, w, gy))))???;
            let tensor = |numbers: Vec<T>, like: &Tensor| {
                like.track_op().then(|| Tensor::from_vec(numbers, like.shape(), like.device())).transpose()
            };
            Ok((tensor(gx, x)?, tensor(gw, weight)?, tensor(gb, bias)?))
        })
    }
}
