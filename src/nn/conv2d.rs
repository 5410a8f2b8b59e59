//! Two-dimensional convolution (cross-correlation, as in PyTorch) with both gradients.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType, bail};

use super::cpu::{ConvShape, Real, direct, winograd};
use super::{slice, with_real, with_slice};

/// How kernels move over an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    /// Pixels from one position to the next.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: usize,
    /// Pixels from one tap to the next.
    pub dilation: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

impl Default for ConvOptions {
    fn default() -> Self {
        Self { stride: 1, padding: 0, dilation: 1, groups: 1 }
    }
}

/// `[n, oh, ow, co]` of images `x [n, h, w, ci]` and kernels `weight [co, ci / groups, kh, kw]`.
///
/// # Errors
/// Shapes that do not fit together, or an image smaller than a kernel.
pub fn conv2d(x: &Tensor, weight: &Tensor, options: ConvOptions) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&weight.contiguous()?, Conv2d(options))
}

struct Conv2d(ConvOptions);

impl Conv2d {
    fn shape(&self, x: &Shape, weight: &Shape) -> Result<ConvShape> {
        let (n, h, w, ci) = x.dims4()?;
        let (co, ci_group, kh, kw) = weight.dims4()?;
        let ConvOptions { stride, padding, dilation, groups } = self.0;
        if stride == 0 || dilation == 0 || groups == 0 || ci != ci_group * groups || co % groups != 0 {
            bail!("kernels {weight:?} do not fit images {x:?} in {groups} groups");
        }
        if h + 2 * padding < dilation * (kh - 1) + 1 || w + 2 * padding < dilation * (kw - 1) + 1 {
            bail!("images {x:?} with padding {padding} are smaller than kernels {weight:?}");
        }
        Ok(ConvShape { n, h, w, ci, co, kh, kw, stride, padding, dilation, groups })
    }
}

impl CustomOp2 for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = self.shape(x_layout.shape(), weight_layout.shape())?;
        let y = if uses_winograd(x.dtype(), &shape) {
            CpuStorage::F32(winograd::forward(slice(x, x_layout)?, slice(weight, weight_layout)?, &shape))
        } else {
            with_real!(x.dtype(), T => {
                let y = direct::forward::<T>(slice(x, x_layout)?, slice(weight, weight_layout)?, &shape);
                T::to_cpu_storage_owned(y)
            })
        };
        Ok((y, (shape.n, shape.oh(), shape.ow(), shape.co).into()))
    }

    /// Only the gradients that are needed are computed: none for images, none for frozen kernels.
    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        gy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let shape = self.shape(x.shape(), weight.shape())?;
        let gy = gy.contiguous()?;
        if uses_winograd(x.dtype(), &shape) {
            gradients(x, weight, &gy, &shape, winograd::input_gradient, winograd::weight_gradient)
        } else {
            with_real!(x.dtype(), T => {
                gradients(x, weight, &gy, &shape, direct::input_gradient::<T>, direct::weight_gradient::<T>)
            })
        }
    }
}

fn uses_winograd(dtype: DType, shape: &ConvShape) -> bool {
    dtype == DType::F32 && winograd::serves(shape)
}

/// The gradient of two slices.
type Kernel<T> = fn(&[T], &[T], &ConvShape) -> Vec<T>;

fn gradients<T: Real>(
    x: &Tensor,
    weight: &Tensor,
    gy: &Tensor,
    shape: &ConvShape,
    input: Kernel<T>,
    kernels: Kernel<T>,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let of = |kernel: Kernel<T>, a: &Tensor, b: &Tensor, like: &Tensor| {
        let gradient = with_slice(a, |a| with_slice(b, |b| kernel(a, b, shape)))??;
        Tensor::from_vec(gradient, like.shape(), like.device())
    };
    let gx = x.track_op().then(|| of(input, gy, weight, x)).transpose()?;
    let gw = weight.track_op().then(|| of(kernels, x, gy, weight)).transpose()?;
    Ok((gx, gw))
}
