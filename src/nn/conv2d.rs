//! Two-dimensional convolution (cross-correlation, as in PyTorch) with both gradients.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::cpu::{ConvShape, direct, winograd};
use super::{slice, with_slice};

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
        let (x, weight) = (slice(x, x_layout)?, slice(weight, weight_layout)?);
        let y = if winograd::serves(&shape) {
            winograd::forward(x, weight, &shape)
        } else {
            direct::forward(x, weight, &shape)
        };
        Ok((CpuStorage::F32(y), (shape.n, shape.oh(), shape.ow(), shape.co).into()))
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
        let fast = winograd::serves(&shape);
        let input = || -> Result<Tensor> {
            let compute = if fast { winograd::input_gradient } else { direct::input_gradient };
            let gx = with_slice(&gy, |gy| with_slice(weight, |weight| compute(gy, weight, &shape)))??;
            Tensor::from_vec(gx, x.shape(), x.device())
        };
        let kernels = || -> Result<Tensor> {
            let compute = if fast { winograd::weight_gradient } else { direct::weight_gradient };
            let gw = with_slice(&gy, |gy| with_slice(x, |x| compute(x, gy, &shape)))??;
            Tensor::from_vec(gw, weight.shape(), weight.device())
        };
        Ok((x.track_op().then(input).transpose()?, weight.track_op().then(kernels).transpose()?))
    }
}
