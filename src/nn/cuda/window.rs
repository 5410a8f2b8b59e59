//! Windows that slide over images: pools and patches.

use candle_core::{Result, Tensor};

use super::columns::pack;
use super::launch::Launch;
use super::to_be_written;
use crate::cpu::ConvShape;
use crate::cpu::pool::PoolShape;

/// `Window` in `kernels/pool.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    n: i32,
    h: i32,
    w: i32,
    channels: i32,
    kernel_h: i32,
    kernel_w: i32,
    stride: i32,
    padding: i32,
    dilation: i32,
    oh: i32,
    ow: i32,
}

impl From<&ConvShape> for Window {
    fn from(shape: &ConvShape) -> Self {
        let int = |number: usize| number as i32;
        Self {
            n: int(shape.n),
            h: int(shape.h),
            w: int(shape.w),
            channels: int(shape.ci),
            kernel_h: int(shape.kh),
            kernel_w: int(shape.kw),
            stride: int(shape.stride),
            padding: int(shape.padding),
            dilation: int(shape.dilation),
            oh: int(shape.oh()),
            ow: int(shape.ow()),
        }
    }
}

impl From<&PoolShape> for Window {
    fn from(shape: &PoolShape) -> Self {
        let &PoolShape { n, h, w, c, kernel, stride, padding } = shape;
        Self::from(&ConvShape {
            n,
            h,
            w,
            ci: c,
            co: c,
            kh: kernel,
            kw: kernel,
            stride,
            padding,
            dilation: 1,
            groups: 1,
        })
    }
}

impl Window {
    /// Launches a thread for each pack of channels of `of`, whose arguments end in `window, v`. All `tensors` are read
    /// or written in packs.
    ///
    /// # Errors
    /// The launch failed.
    pub(super) fn each(&self, launch: Launch<'_>, of: &Tensor, tensors: &[&Tensor]) -> Result<()> {
        let pack = pack(self.channels as usize, tensors)?;
        launch.table(self).int(pack)?.over_int(of.elem_count() / pack)
    }
}

/// The pixels under each position of a kernel: `[n · oh · ow, kh · kw · ci]`.
///
/// # Errors
/// The device is out of memory.
pub(super) fn patches(x: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    let rows = shape.n * shape.oh() * shape.ow();
    if is_linear(shape) {
        return x.reshape((rows, shape.ci));
    }
    let patches = to_be_written((rows, shape.kh * shape.kw * shape.ci), x.dtype(), x)?;
    let launch = Launch::new("to_patches", x).tensor(x)?.tensor(&patches)?;
    Window::from(shape).each(launch, &patches, &[x, &patches])?;
    Ok(patches)
}

/// The sums of what patches have for each pixel: the gradient of [`patches`].
///
/// # Errors
/// The device is out of memory.
pub(super) fn from_patches(patches: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    let dims = (shape.n, shape.h, shape.w, shape.ci);
    if is_linear(shape) {
        return patches.reshape(dims);
    }
    let x = to_be_written(dims, patches.dtype(), patches)?;
    let launch = Launch::new("from_patches", patches).tensor(patches)?.tensor(&x)?;
    Window::from(shape).each(launch, &x, &[patches, &x])?;
    Ok(x)
}

/// Whether a convolution is a linear map of each pixel.
fn is_linear(shape: &ConvShape) -> bool {
    (shape.kh, shape.kw, shape.stride, shape.padding) == (1, 1, 1, 0)
}
