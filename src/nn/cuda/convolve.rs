//! The three convolutions on images `[n, h, w, c]` and kernels `[co, kh, kw, ci / groups]`: by cuDNN, or, in tests, by
//! the CPU's kernels.

use candle_core::{Device, Result, Tensor, bail};

use crate::cpu::ConvShape;

/// What is computed, from two tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Pass {
    /// The output, from images and kernels.
    Forward,
    /// Gradient of the images, from the output gradient and the kernels.
    Images,
    /// Gradient of the kernels, from the images and the output gradient.
    Kernels,
}

impl Pass {
    /// Dimensions of the result.
    pub(super) fn result(self, shape: &ConvShape) -> [usize; 4] {
        match self {
            Self::Forward => [shape.n, shape.oh(), shape.ow(), shape.co],
            Self::Images => [shape.n, shape.h, shape.w, shape.ci],
            Self::Kernels => [shape.co, shape.kh, shape.kw, shape.ci_group()],
        }
    }
}

/// Computes a pass on contiguous tensors.
///
/// # Errors
/// cuDNN has no algorithm, or the device is out of memory.
pub(super) fn convolve(pass: Pass, a: &Tensor, b: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    match a.device() {
        #[cfg(feature = "testing")]
        Device::Cpu => on_cpu(pass, a, b, shape),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => super::cudnn::convolve(pass, a, b, shape),
        other => {
            _ = (b, shape);
            bail!("{pass:?} convolution on {:?}: there is none", other.location())
        }
    }
}

#[cfg(feature = "testing")]
fn on_cpu(pass: Pass, a: &Tensor, b: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    use crate::conv2d::{forward, input_gradient, weight_gradient};

    let first = |kernels: &Tensor| kernels.permute((0, 3, 1, 2))?.contiguous();
    match pass {
        Pass::Forward => forward(a, &first(b)?, shape),
        Pass::Images => input_gradient(a, &first(b)?, shape),
        Pass::Kernels => weight_gradient(a, b, shape)?.permute((0, 2, 3, 1))?.contiguous(),
    }
}
