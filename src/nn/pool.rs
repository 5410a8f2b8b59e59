//! Pooling with gradients.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType, bail};

use super::cpu::pool as kernel;
use super::{slice, with_real, with_slice};

/// The largest value of each window of `x [n, h, w, c]`. Of equal values the first gets the gradient, as
/// in PyTorch.
///
/// # Errors
/// A padding over half of the kernel, or an image smaller than the kernel.
pub fn max_pool2d(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    x.contiguous()?.apply_op1(MaxPool { kernel, stride, padding, at: OnceLock::new() })
}

/// The mean over the pixels of `x [n, h, w, c]`: `[n, c]`.
///
/// # Errors
/// Another number of dimensions.
pub fn global_mean_pool(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(MeanPool)
}

struct MaxPool {
    kernel: usize,
    stride: usize,
    padding: usize,
    /// Where each maximum stood.
    at: OnceLock<Vec<u32>>,
}

impl MaxPool {
    fn shape(&self, x: &Shape) -> Result<kernel::PoolShape> {
        let (n, h, w, c) = x.dims4()?;
        let Self { kernel, stride, padding, .. } = *self;
        if stride == 0 || 2 * padding > kernel || h.min(w) + 2 * padding < kernel {
            bail!("a {kernel}x{kernel} pool of stride {stride}, padding {padding} does not fit images {x:?}");
        }
        Ok(kernel::PoolShape { n, h, w, c, kernel, stride, padding })
    }
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let shape = self.shape(layout.shape())?;
        let (y, at) = with_real!(x.dtype(), T => {
            let (y, at) = kernel::max_forward::<T>(slice(x, layout)?, &shape);
            (T::to_cpu_storage_owned(y), at)
        });
        // A forward pass runs once per op.
        let _ = self.at.set(at);
        Ok((y, (shape.n, shape.oh(), shape.ow(), shape.c).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gy: &Tensor) -> Result<Option<Tensor>> {
        if !x.track_op() {
            return Ok(None);
        }
        let Some(at) = self.at.get() else { bail!("max pool's backward pass came before its forward pass") };
        let shape = self.shape(x.shape())?;
        with_real!(x.dtype(), T => {
            let gx = with_slice(&gy.contiguous()?, |gy| kernel::max_backward::<T>(gy, at, &shape))?;
            Tensor::from_vec(gx, x.shape(), x.device()).map(Some)
        })
    }
}

struct MeanPool;

impl CustomOp1 for MeanPool {
    fn name(&self) -> &'static str {
        "global_mean_pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, h, w, c) = layout.shape().dims4()?;
        let y = with_real!(x.dtype(), T => {
            T::to_cpu_storage_owned(kernel::mean_forward::<T>(slice(x, layout)?, n, h * w, c))
        });
        Ok((y, (n, c).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gy: &Tensor) -> Result<Option<Tensor>> {
        let (n, h, w, c) = x.dims4()?;
        with_real!(x.dtype(), T => {
            let gx = with_slice(&gy.contiguous()?, |gy| kernel::mean_backward::<T>(gy, n, h * w, c))?;
            Tensor::from_vec(gx, x.shape(), x.device()).map(Some)
        })
    }
}
