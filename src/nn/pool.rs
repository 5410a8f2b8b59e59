//! Pooling with gradients.

use candle_core::{Result, bail};

use super::conv2d::ConvOptions;
use super::cost::Cost;
use super::cpu::pool as kernel;
use super::{Value, cuda, on_cpu, with_real, with_slice};

/// Maximum of each window of `x [n, h, w, c]`. The first of equal values gets the gradient, as in PyTorch.
///
/// # Errors
/// The padding exceeds half the kernel, or an image is smaller than the kernel.
pub fn max_pool2d(x: &Value, kernel: usize, stride: usize, padding: usize) -> Result<Value> {
    let (n, h, w, c) = x.tensor().dims4()?;
    if stride == 0 || 2 * padding > kernel || h.min(w) + 2 * padding < kernel {
        let x = x.dims();
        bail!("a {kernel}x{kernel} pool of stride {stride}, padding {padding} does not match images {x:?}");
    }
    let shape = kernel::PoolShape { n, h, w, c, kernel, stride, padding };
    if cuda::serves(x.tensor()) {
        return cuda::pool::max_pool2d(x, &shape);
    }
    let input = x.tensor().contiguous()?;
    let size = [n, shape.oh(), shape.ow(), c];
    let y = with_real!(input.dtype(), T => {
        on_cpu(with_slice(&input, |x| kernel::max_forward::<T>(x, &shape))?, &size)?
    });
    let output = y.clone();
    Ok(Value::result(y, &[x], move |gy| {
        let gy = gy.contiguous()?;
        with_real!(gy.dtype(), T => {
            let kernel = |x: &[T], y: &[T], gy: &[T]| kernel::max_backward(x, y, gy, &shape);
            let gx = with_slice(&input, |x| with_slice(&output, |y| with_slice(&gy, |gy| kernel(x, y, gy))))???;
            Ok(vec![Some(on_cpu(gx, input.dims())?)])
        })
    }))
}

/// Cost of [`max_pool2d`] for an image with `channels` channels and this side, and the side of the output.
pub fn max_pool2d_cost(
    (channels, side): (usize, usize),
    kernel: usize,
    stride: usize,
    padding: usize,
) -> (Cost, usize) {
    let side = ConvOptions { stride, padding, ..ConvOptions::default() }.result_side(side, kernel);
    (Cost::elementwise(&[channels, side, side]), side)
}

/// Mean over the pixels of `x [n, h, w, c]`: `[n, c]`.
///
/// # Errors
/// The number of dimensions is not 4.
pub fn global_mean_pool(x: &Value) -> Result<Value> {
    let (n, h, w, c) = x.tensor().dims4()?;
    if cuda::serves(x.tensor()) {
        return cuda::pool::global_mean_pool(x);
    }
    let input = x.tensor().contiguous()?;
    let y = with_real!(input.dtype(), T => {
        on_cpu(with_slice(&input, |x| kernel::mean_forward::<T>(x, n, h * w, c))?, &[n, c])?
    });
    Ok(Value::result(y, &[x], move |gy| {
        with_real!(gy.dtype(), T => {
            let gx = with_slice(&gy.contiguous()?, |gy| kernel::mean_backward::<T>(gy, n, h * w, c))?;
            Ok(vec![Some(on_cpu(gx, &[n, h, w, c])?)])
        })
    }))
}

/// Mean of each non-overlapping `side`x`side` window of `x [n, h, w, c]`, like PyTorch's `avg_pool2d`:
/// `[n, h / side, w / side, c]`.
///
/// # Errors
/// An image is smaller than a window.
pub fn mean_pool2d(x: &Value, side: usize) -> Result<Value> {
    let (n, h, w, c) = x.tensor().dims4()?;
    if side == 0 || h.min(w) < side {
        bail!("images {:?} are smaller than a window of {side} pixels", x.dims());
    }
    if cuda::serves(x.tensor()) {
        return cuda::pool::mean_pool2d(x, side);
    }
    let input = x.tensor().contiguous()?;
    let y = with_real!(input.dtype(), T => {
        let y = with_slice(&input, |x| kernel::window_mean_forward::<T>(x, (h, w, c), side))?;
        on_cpu(y, &[n, h / side, w / side, c])?
    });
    Ok(Value::result(y, &[x], move |gy| {
        with_real!(gy.dtype(), T => {
            let kernel = |gy: &[T]| kernel::window_mean_backward(gy, (h, w, c), side);
            Ok(vec![Some(on_cpu(with_slice(&gy.contiguous()?, kernel)?, &[n, h, w, c])?)])
        })
    }))
}
