//! Two-dimensional convolution (cross-correlation, as in PyTorch) with both gradients.

use candle_core::{DType, Result, Tensor, bail};

use super::batch_norm::{Then, batch_norm_eval, with_eval_map};
use super::cpu::{ConvShape, Finish, Real, as_is, direct, linear, winograd};
use super::{Value, cuda, on_cpu, with_real, with_slice};

/// Stride, padding, dilation and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    /// Pixels between output positions.
    pub stride: usize,
    /// Zeros on each side of the image.
    pub padding: usize,
    /// Pixels between kernel taps.
    pub dilation: usize,
    /// Number of channel groups, convolved independently.
    pub groups: usize,
}

impl Default for ConvOptions {
    fn default() -> Self {
        Self { stride: 1, padding: 0, dilation: 1, groups: 1 }
    }
}

impl ConvOptions {
    /// Output side for square images and kernels; 0 if the image is too small.
    pub fn result_side(&self, side: usize, kernel: usize) -> usize {
        let padded = side.saturating_add(self.padding.saturating_mul(2));
        let reach = kernel.saturating_sub(1).saturating_mul(self.dilation).saturating_add(1);
        padded.checked_sub(reach).map_or(0, |free| (free / self.stride.max(1)).saturating_add(1))
    }
}

/// Convolves images `x [n, h, w, ci]` with kernels `weight [co, ci / groups, kh, kw]` to `[n, oh, ow, co]`. Only needed
/// gradients are computed: none for the input images, none for frozen kernels.
///
/// # Errors
/// The shapes do not match, or an image is smaller than a kernel.
pub fn conv2d(x: &Value, weight: &Value, options: ConvOptions) -> Result<Value> {
    let shape = shape(x.tensor(), weight.tensor(), options)?;
    if cuda::serves(x.tensor()) {
        return cuda::conv2d::conv2d(x, weight, &shape);
    }
    let (input, kernels) = (x.tensor().contiguous()?, weight.tensor().contiguous()?);
    let y = forward(&input, &kernels, &shape, None)?;
    let (of_input, of_kernels) = (x.is_tracked(), weight.is_tracked());
    // Each gradient needs only the other operand.
    let input = of_kernels.then_some(input);
    let kernels = of_input.then_some(kernels);
    Ok(Value::result(y, &[x, weight], move |gy| {
        let gy = gy.contiguous()?;
        let gw = input.map(|input| weight_gradient(&input, &gy, &shape)).transpose()?;
        let gx = kernels.map(|kernels| input_gradient(&gy, &kernels, &shape)).transpose()?;
        Ok(vec![gx, gw])
    }))
}

/// A batch norm by given statistics, and what follows it.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// Scale, `[co]`.
    pub weight: &'a Value,
    /// Shift, `[co]`.
    pub bias: &'a Value,
    /// Mean and variance, `[co]` each.
    pub statistics: (&'a Tensor, &'a Tensor),
    /// What follows.
    pub then: Then<'a>,
}

/// [`conv2d`], then [`batch_norm_eval`]. On a CPU, where no gradient is needed, each piece of the result is normalized
/// while it is in the cache; the numbers are the same.
///
/// # Errors
/// The shapes do not match, or an image is smaller than a kernel.
pub fn conv2d_norm(x: &Value, weight: &Value, options: ConvOptions, norm: Norm<'_>) -> Result<Value> {
    let mut inputs = [x, weight, norm.weight, norm.bias].into_iter().chain(norm.then.residual());
    if cuda::serves(x.tensor()) || inputs.any(Value::is_tracked) {
        let y = conv2d(x, weight, options)?;
        return batch_norm_eval(&y, norm.weight, norm.bias, norm.statistics, norm.then);
    }
    let shape = shape(x.tensor(), weight.tensor(), options)?;
    let (x, weight) = (x.tensor().contiguous()?, weight.tensor().contiguous()?);
    Ok(Value::constant(forward(&x, &weight, &shape, Some(norm))?))
}

fn shape(x: &Tensor, weight: &Tensor, options: ConvOptions) -> Result<ConvShape> {
    let (n, h, w, ci) = x.dims4()?;
    let (co, ci_group, kh, kw) = weight.dims4()?;
    let ConvOptions { stride, padding, dilation, groups } = options;
    let (images, kernels) = (x.shape(), weight.shape());
    if stride == 0 || dilation == 0 || groups == 0 || ci != ci_group * groups || co % groups != 0 {
        bail!("kernels {kernels:?} do not match images {images:?} with {groups} groups");
    }
    if h + 2 * padding < dilation * (kh - 1) + 1 || w + 2 * padding < dilation * (kw - 1) + 1 {
        bail!("images {images:?} with padding {padding} are smaller than kernels {kernels:?}");
    }
    Ok(ConvShape { n, h, w, ci, co, kh, kw, stride, padding, dilation, groups })
}

/// Algorithm of a convolution.
enum Algorithm {
    /// For 3x3 kernels in f32; fewer multiplications.
    Winograd,
    /// For 1x1 kernels: a linear map of each pixel.
    Pointwise,
    /// Matrix products over gathered patches.
    Direct,
}

impl Algorithm {
    fn select(dtype: DType, shape: &ConvShape) -> Self {
        match shape {
            _ if dtype == DType::F32 && winograd::serves(shape) => Self::Winograd,
            ConvShape { kh: 1, kw: 1, stride: 1, padding: 0, groups: 1, .. } => Self::Pointwise,
            _ => Self::Direct,
        }
    }
}

pub(crate) fn forward(
    x: &Tensor,
    weight: &Tensor,
    shape: &ConvShape,
    norm: Option<Norm<'_>>,
) -> Result<Tensor> {
    let size = [shape.n, shape.oh(), shape.ow(), shape.co];
    match Algorithm::select(x.dtype(), shape) {
        Algorithm::Winograd => {
            finished(x, weight, &size, norm, |x, w, finish| winograd::forward(x, w, shape, finish))
        }
        Algorithm::Pointwise => with_real!(x.dtype(), T => {
            finished::<T>(x, weight, &size, norm, |x, w, finish| linear::product(x, w, shape.ci, finish))
        }),
        Algorithm::Direct => with_real!(x.dtype(), T => {
            finished::<T>(x, weight, &size, norm, |x, w, finish| direct::forward(x, w, shape, finish))
        }),
    }
}

/// Applies a kernel to the elements of two tensors, with a norm to finish its result; the result has shape `size`.
fn finished<T: Real>(
    x: &Tensor,
    weight: &Tensor,
    size: &[usize],
    norm: Option<Norm<'_>>,
    kernel: impl FnOnce(&[T], &[T], Finish<'_, T>) -> Vec<T>,
) -> Result<Tensor> {
    match norm {
        None => of_two(x, weight, size, |x, w| kernel(x, w, &as_is)),
        Some(Norm { weight: scale, bias, statistics, then }) => {
            with_eval_map(size, (scale, bias), statistics, then, |map| {
                of_two(x, weight, size, |x, w| kernel(x, w, &|start, y: &mut [T]| map.map(start, y)))
            })?
        }
    }
}

pub(crate) fn input_gradient(gy: &Tensor, weight: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    let size = [shape.n, shape.h, shape.w, shape.ci];
    match Algorithm::select(gy.dtype(), shape) {
        Algorithm::Winograd => of_two(gy, weight, &size, |gy, w| winograd::input_gradient(gy, w, shape)),
        Algorithm::Pointwise => with_real!(gy.dtype(), T => {
            of_two(gy, weight, &size, |gy, w| linear::input_gradient::<T>(gy, w, shape.ci))
        }),
        Algorithm::Direct => with_real!(gy.dtype(), T => {
            of_two(gy, weight, &size, |gy, w| direct::input_gradient::<T>(gy, w, shape))
        }),
    }
}

pub(crate) fn weight_gradient(x: &Tensor, gy: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    let size = [shape.co, shape.ci_group(), shape.kh, shape.kw];
    match Algorithm::select(gy.dtype(), shape) {
        Algorithm::Winograd => of_two(x, gy, &size, |x, gy| winograd::weight_gradient(x, gy, shape)),
        Algorithm::Pointwise => with_real!(gy.dtype(), T => {
            of_two(x, gy, &size, |x, gy| linear::weight_gradient::<T>(x, gy, (shape.ci, shape.co)))
        }),
        Algorithm::Direct => with_real!(gy.dtype(), T => {
            of_two(x, gy, &size, |x, gy| direct::weight_gradient::<T>(x, gy, shape))
        }),
    }
}

/// Applies a kernel to the elements of two tensors; the result has shape `size`.
fn of_two<T: Real>(
    a: &Tensor,
    b: &Tensor,
    size: &[usize],
    kernel: impl FnOnce(&[T], &[T]) -> Vec<T>,
) -> Result<Tensor> {
    on_cpu(with_slice(a, |a| with_slice(b, |b| kernel(a, b)))??, size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random_tensor;

    /// For every algorithm: Winograd with few and with many kernels, pointwise, direct, and f64.
    #[test]
    fn a_norm_in_the_same_pass_gives_the_same_bits() -> Result<()> {
        let strided = ConvOptions { stride: 2, padding: 1, ..ConvOptions::default() };
        let padded = ConvOptions { padding: 1, ..ConvOptions::default() };
        let cases = [
            (DType::F32, [16, 32, 3], padded),
            (DType::F32, [240, 512, 3], padded),
            (DType::F32, [24, 40, 1], ConvOptions::default()),
            (DType::F32, [6, 8, 3], ConvOptions { groups: 2, ..strided }),
            (DType::F64, [3, 7, 3], strided),
        ];
        for (dtype, [ci, co, kernel], options) in cases {
            let random = |seed, shape: &[usize]| random_tensor(seed, shape).to_dtype(dtype);
            let value = |seed, shape: &[usize]| random(seed, shape).map(Value::constant);
            let x = value(1, &[3, 11, 9, ci])?;
            let kernels = value(2, &[co, ci / options.groups, kernel, kernel])?;
            let (weight, bias) = (value(3, &[co])?, value(4, &[co])?);
            let (mean, variance) = (random(5, &[co])?, random(6, &[co])?.sqr()?);
            let y = conv2d(&x, &kernels, options)?;
            let residual = value(7, y.dims())?;
            for then in [Then::Nothing, Then::Relu, Then::AddRelu(&residual)] {
                let statistics = (&mean, &variance);
                let apart = batch_norm_eval(&y, &weight, &bias, statistics, then)?;
                let norm = Norm { weight: &weight, bias: &bias, statistics, then };
                let together = conv2d_norm(&x, &kernels, options, norm)?;
                let bits = |y: &Value| y.tensor().to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
                assert_eq!(bits(&together)?, bits(&apart)?, "{dtype:?} {ci} {co} {kernel}");
            }
        }
        Ok(())
    }
}
