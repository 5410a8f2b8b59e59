//! Channels of two images side by side, with gradients.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType, bail};

use super::cpu::concat as kernel;
use super::{slice, with_real, with_slice};

/// `[.., a]` and `[.., b]` as `[.., a + b]`.
///
/// # Errors
/// Other dimensions differ.
pub fn concat_channels(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    left.contiguous()?.apply_op2(&right.contiguous()?, Concat)
}

struct Concat;

/// The last dimension of both, and the dimensions before.
fn split<'a>(left: &'a [usize], right: &'a [usize]) -> Result<(usize, usize, &'a [usize])> {
    match (left.split_last(), right.split_last()) {
        (Some((&a, rows)), Some((&b, same))) if rows == same && a > 0 && b > 0 => Ok((a, b, rows)),
        _ => bail!("{left:?} and {right:?} cannot stand side by side"),
    }
}

impl CustomOp2 for Concat {
    fn name(&self) -> &'static str {
        "concat_channels"
    }

    fn cpu_fwd(
        &self,
        left: &CpuStorage,
        ll: &Layout,
        right: &CpuStorage,
        rl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (a, b, rows) = split(ll.dims(), rl.dims())?;
        let y = with_real!(left.dtype(), T => {
            T::to_cpu_storage_owned(kernel::forward::<T>(slice(left, ll)?, slice(right, rl)?, (a, b)))
        });
        Ok((y, Shape::from([rows, &[a + b]].concat())))
    }

    fn bwd(
        &self,
        left: &Tensor,
        right: &Tensor,
        _: &Tensor,
        gy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (a, b, _) = split(left.dims(), right.dims())?;
        let gy = gy.contiguous()?;
        let part = |of: &Tensor, start: usize, columns: usize| {
            let gradient = || {
                with_real!(of.dtype(), T => {
                    let part = with_slice(&gy, |gy| kernel::columns::<T>(gy, a + b, start, columns))?;
                    Tensor::from_vec(part, of.shape(), of.device())
                })
            };
            of.track_op().then(gradient).transpose()
        };
        Ok((part(left, 0, a)?, part(right, a, b)?))
    }
}
