//! Linear maps and biases.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor, WithDType, bail};

use super::cpu::{batch_norm, linear as kernel};
use super::{slice, with_real, with_slice};

/// `x [.., in] · weightᵀ + bias` of `weight [out, in]` and `bias [out]`: `[.., out]`.
///
/// # Errors
/// Shapes that do not fit together.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Linear)
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

struct Linear;

type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
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
        let (outputs, inputs) = wl.shape().dims2()?;
        let Some((&last, rows)) = xl.dims().split_last() else {
            bail!("a linear layer needs a row, got a scalar")
        };
        if last != inputs || bl.dims() != [outputs] {
            bail!("a linear layer of {wl:?} and bias {bl:?} does not fit {xl:?}");
        }
        let y = with_real!(x.dtype(), T => {
            let y = kernel::forward::<T>(slice(x, xl)?, slice(weight, wl)?, slice(bias, bl)?, inputs);
            T::to_cpu_storage_owned(y)
        });
        Ok((y, Shape::from([rows, &[outputs]].concat())))
    }

    /// Only the gradients that are needed are computed.
    fn bwd(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, _: &Tensor, gy: &Tensor) -> Result<Gradients> {
        let (outputs, inputs) = weight.dims2()?;
        let gy = gy.contiguous()?;
        with_real!(x.dtype(), T => {
            let tensor = |numbers: Vec<T>, like: &Tensor| Tensor::from_vec(numbers, like.shape(), like.device());
            let of_x = || {
                let gx = with_slice(&gy, |gy| with_slice(weight, |w| kernel::input_gradient::<T>(gy, w, inputs)));
                tensor(gx??, x)
            };
            let of_weight = || {
                let gw = with_slice(x, |x| {
                    with_slice(&gy, |gy| kernel::weight_gradient::<T>(x, gy, (inputs, outputs)))
                });
                tensor(gw??, weight)
            };
            let of_bias = || tensor(with_slice(&gy, |gy| kernel::bias_gradient::<T>(gy, outputs))?, bias);
            Ok((
                x.track_op().then(of_x).transpose()?,
                weight.track_op().then(of_weight).transpose()?,
                bias.track_op().then(of_bias).transpose()?,
            ))
        })
    }
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
            T::to_cpu_storage_owned(batch_norm::apply(slice(x, xl)?, &ones, bias, None, false))
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
                let sums = with_slice(&gy, |gy| kernel::bias_gradient::<T>(gy, bias.elem_count()))?;
                Tensor::from_vec(sums, bias.shape(), bias.device())
            })
        };
        let gbias = bias.track_op().then(sums).transpose()?;
        Ok((x.track_op().then_some(gy), gbias))
    }
}
