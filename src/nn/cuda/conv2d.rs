//! Convolution with gradients.

use candle_core::{DType, Result, Tensor};

use super::convolve::{Pass, convolve};
use super::launch::Launch;
use super::precision::activations;
use super::{to_be_written, wide};
use crate::Value;
use crate::cpu::ConvShape;

/// See [`conv2d`](crate::conv2d::conv2d); the shapes are already checked.
pub(crate) fn conv2d(x: &Value, weight: &Value, shape: &ConvShape) -> Result<Value> {
    let shape = *shape;
    let x = &x.cast(activations(x.tensor().dtype()))?;
    let input = x.tensor().contiguous()?;
    let kernels = channels_last(weight.tensor(), &shape, input.dtype())?;
    let y = convolve(Pass::Forward, &input, &kernels, &shape)?;
    let (of_input, of_kernels) = (x.is_tracked(), weight.is_tracked());
    // Each gradient needs only the other operand.
    let (input, kernels) = (of_kernels.then_some(input), of_input.then_some(kernels));
    Ok(Value::result(y, &[x, weight], move |gy| {
        let gy = gy.contiguous()?;
        let of_kernels =
            |input: Tensor| channels_first(&convolve(Pass::Kernels, &input, &gy, &shape)?, &shape);
        let gw = input.map(of_kernels).transpose()?;
        let gx = kernels.map(|kernels| convolve(Pass::Images, &gy, &kernels, &shape)).transpose()?;
        Ok(vec![gx, gw])
    }))
}

/// Kernels `[co, ci, kh, kw]` as `[co, kh, kw, ci]`, in the type of activations.
fn channels_last(kernels: &Tensor, shape: &ConvShape, dtype: DType) -> Result<Tensor> {
    let (kernels, dims) = (kernels.contiguous()?, Pass::Kernels.result(shape));
    if shape.kh * shape.kw == 1 && kernels.dtype() == dtype {
        return kernels.reshape(&dims);
    }
    let last = to_be_written(&dims, dtype, &kernels)?;
    let launch = Launch::new("channels_last", &last).tensor(&kernels)?.tensor(&last)?;
    sized(launch, shape)?.over(last.elem_count())?;
    Ok(last)
}

/// The gradient of kernels, back in the type of parameters. In f32 its input channels stay last in memory, as the
/// optimizers take them.
fn channels_first(gradient: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    let dims = [shape.co, shape.ci_group(), shape.kh, shape.kw];
    let dtype = wide(gradient.dtype());
    if gradient.dtype() == dtype {
        return if shape.kh * shape.kw == 1 {
            gradient.reshape(&dims)
        } else {
            gradient.permute((0, 3, 1, 2))
        };
    }
    let first = to_be_written(&dims, dtype, gradient)?;
    let launch = Launch::new("channels_first", gradient).tensor(gradient)?.tensor(&first)?;
    sized(launch, shape)?.over(first.elem_count())?;
    Ok(first)
}

fn sized<'a>(launch: Launch<'a>, shape: &ConvShape) -> Result<Launch<'a>> {
    let (taps, ci) = (shape.kh * shape.kw, shape.ci_group());
    Ok(launch.int(ci)?.int(taps)?.long(shape.co * taps * ci))
}
