//! Pools with gradients.

use candle_core::{DType, Result};

use super::columns::Columns;
use super::launch::Launch;
use super::window::Window;
use super::{to_be_written, wide};
use crate::Value;
use crate::cpu::pool::PoolShape;

/// See [`max_pool2d`](crate::pool::max_pool2d); the shapes are already checked.
pub(crate) fn max_pool2d(x: &Value, shape: &PoolShape) -> Result<Value> {
    let (input, window) = (x.tensor().contiguous()?, Window::from(shape));
    let y = to_be_written((shape.n, shape.oh(), shape.ow(), shape.c), input.dtype(), &input)?;
    let taken = to_be_written(y.shape(), DType::U8, &input)?;
    let launch = Launch::new("max_pool", &input).tensor(&input)?.tensor(&y)?.tensor(&taken)?;
    window.each(launch, &y, &[&input, &y, &taken])?;
    let size = input.shape().clone();
    Ok(Value::result(y, &[x], move |gy| {
        let gy = gy.contiguous()?;
        let gx = to_be_written(&size, gy.dtype(), &gy)?;
        let launch = Launch::new("max_pool_gradient", &gy).tensor(&gy)?.tensor(&taken)?.tensor(&gx)?;
        window.each(launch, &gx, &[&gy, &taken, &gx])?;
        Ok(vec![Some(gx)])
    }))
}

/// See [`mean_pool2d`](crate::pool::mean_pool2d); the shapes are already checked.
pub(crate) fn mean_pool2d(x: &Value, side: usize) -> Result<Value> {
    let input = x.tensor().contiguous()?;
    let (n, h, w, c) = input.dims4()?;
    let window = Window::from(&PoolShape { n, h, w, c, kernel: side, stride: side, padding: 0 });
    let y = to_be_written((n, h / side, w / side, c), input.dtype(), &input)?;
    window.each(Launch::new("mean_pool", &input).tensor(&input)?.tensor(&y)?, &y, &[&input, &y])?;
    Ok(Value::result(y, &[x], move |gy| {
        let gy = gy.contiguous()?;
        let gx = to_be_written((n, h, w, c), gy.dtype(), &gy)?;
        let launch = Launch::new("mean_pool_gradient", &gy).tensor(&gy)?.tensor(&gx)?;
        window.each(launch, &gx, &[&gy, &gx])?;
        Ok(vec![Some(gx)])
    }))
}

/// See [`global_mean_pool`](crate::pool::global_mean_pool). The result has the type of parameters.
pub(crate) fn global_mean_pool(x: &Value) -> Result<Value> {
    let input = x.tensor().contiguous()?;
    let (n, h, w, c) = input.dims4()?;
    let y = to_be_written((n, c), wide(input.dtype()), &input)?;
    let launch = Launch::new("global_mean_pool", &input).tensor(&input)?.tensor(&y)?;
    launch.int(n)?.int(h * w)?.int(c)?.over(n * c)?;
    let dtype = input.dtype();
    Ok(Value::result(y, &[x], move |gy| {
        let gy = gy.contiguous()?;
        let gx = to_be_written((n, h, w, c), dtype, &gy)?;
        let launch = Launch::new("global_mean_pool_gradient", &gx).tensor(&gy)?.tensor(&gx)?;
        Columns::of(&[&gx])?.each(launch.int(h * w)?)?;
        Ok(vec![Some(gx)])
    }))
}
