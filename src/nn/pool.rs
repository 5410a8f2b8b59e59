//! Pooling with gradients.

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
    x.contiguous()?.apply_op1(MaxPool { kernel, stride, padding })
}

/// The mean over the pixels of `x [n, h, w, c]`: `[n, c]`.
///
/// # Errors
/// Another number of dimensions.
pub fn global_mean_pool(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(MeanPool)
}

/// The mean of each `side`x`side` window of `x [n, h, w, c]`, windows beside each other, as PyTorch's `avg_pool2d`
/// with that stride: `[n, h / side, w / side, c]`.
///
/// # Errors
/// An image smaller than a window.
pub fn mean_pool2d(x: &Tensor, side: usize) -> Result<Tensor> {
    x.contiguous()?.apply_op1(WindowMeanPool { side })
}

struct MaxPool {
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl MaxPool {
    fn shape(&self, x: &Shape) -> Result<kernel::PoolShape> {
        let (n, h, w, c) = x.dims4()?;
        let Self { kernel, stride, padding } = *self;
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
        let y = with_real!(x.dtype(), T => {
            T::to_cpu_storage_owned(kernel::max_forward::<T>(slice(x, layout)?, &shape))
        });
        Ok((y, (shape.n, shape.oh(), shape.ow(), shape.c).into()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, gy: &Tensor) -> Result<Option<Tensor>> {
        if !x.track_op() {
            return Ok(None);
        }
        let shape = self.shape(x.shape())?;
        let gy = gy.contiguous()?;
        with_real!(x.dtype(), T => {
            let gradient = |x: &[T], y: &[T], gy: &[T]| kernel::max_backward(x, y, gy, &shape);
            let gx = with_slice(x, |x| with_slice(y, |y| with_slice(&gy, |gy| gradient(x, y, gy))))???;
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

struct WindowMeanPool {
    side: usize,
}

impl WindowMeanPool {
    fn size(&self, x: &Shape) -> Result<(usize, usize, usize)> {
        let (_, h, w, c) = x.dims4()?;
        if self.side == 0 || h.min(w) < self.side {
            bail!("images {x:?} are smaller than a window of {} pixels", self.side);
        }
        Ok((h, w, c))
    }
}

impl CustomOp1 for WindowMeanPool {
    fn name(&self) -> &'static str {
        "mean_pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (h, w, c) = self.size(layout.shape())?;
        let y = with_real!(x.dtype(), T => {
            let y = kernel::window_mean_forward::<T>(slice(x, layout)?, (h, w, c), self.side);
            T::to_cpu_storage_owned(y)
        });
        Ok((y, (layout.dims()[0], h / self.side, w / self.side, c).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gy: &Tensor) -> Result<Option<Tensor>> {
        let size = self.size(x.shape())?;
        with_real!(x.dtype(), T => {
            let gradient = |gy: &[T]| kernel::window_mean_backward::<T>(gy, size, self.side);
            let gx = with_slice(&gy.contiguous()?, gradient)?;
            Tensor::from_vec(gx, x.shape(), x.device()).map(Some)
        })
    }
}
