//! The three convolutions on images `[n, h, w, c]` and kernels `[co, kh, kw, ci / groups]`: by cuDNN, by a product of
//! cuBLAS over patches, or, in tests, by the CPU's kernels.
//!
//! In f32 without tensor cores, cuDNN's algorithms for channels last are slow for 1x1 kernels, and many times too slow
//! for the gradients of strided ones (ResNet-50 on an H200: 3.5 ms for what a product does in 0.3). Elsewhere its own
//! choice is within a few percent of its best.

use candle_core::{DType, Result, Tensor, bail};
use identity::Precision;

use super::launch::{count, matmul};
use super::precision::precision;
use super::window::{from_patches, patches};
use crate::cpu::ConvShape;

/// The most memory for patches, in bytes; cuDNN takes what needs more.
const PATCHES: usize = 1 << 30;

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
    if is_product(pass, a.dtype(), shape) {
        return product(pass, a, b, shape);
    }
    count();
    match a.device() {
        #[cfg(feature = "testing")]
        candle_core::Device::Cpu => on_cpu(pass, a, b, shape),
        #[cfg(feature = "cuda")]
        candle_core::Device::Cuda(_) => super::cudnn::convolve(pass, a, b, shape),
        other => {
            _ = (b, shape);
            bail!("{pass:?} convolution on {:?}: there is none", other.location())
        }
    }
}

fn is_product(pass: Pass, dtype: DType, shape: &ConvShape) -> bool {
    let is_exact = dtype == DType::F64 || dtype == DType::F32 && precision() == Precision::F32;
    let is_pointwise = shape.kh * shape.kw == 1;
    let rows = shape.n * shape.oh() * shape.ow();
    let bytes = rows * shape.kh * shape.kw * shape.ci * dtype.size_in_bytes();
    let is_slow = is_pointwise || shape.stride > 1 && pass != Pass::Forward;
    is_exact && shape.groups == 1 && is_slow && bytes <= PATCHES
}

fn product(pass: Pass, a: &Tensor, b: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    let rows = |outputs: &Tensor| outputs.reshape(((), shape.co));
    let matrix = |kernels: &Tensor| kernels.reshape((shape.co, ()));
    match pass {
        Pass::Forward => matmul(&patches(a, shape)?, &matrix(b)?.t()?)?.reshape(&pass.result(shape)),
        Pass::Images => from_patches(&matmul(&rows(a)?, &matrix(b)?)?, shape),
        Pass::Kernels => matmul(&rows(b)?.t()?, &patches(a, shape)?)?.reshape(&pass.result(shape)),
    }
}

#[cfg(feature = "testing")]
fn on_cpu(pass: Pass, a: &Tensor, b: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    use crate::conv2d::{forward, input_gradient, weight_gradient};

    let first = |kernels: &Tensor| kernels.permute((0, 3, 1, 2))?.contiguous();
    let (left, right, shape) = (a.clone(), b.clone(), *shape);
    super::launch::library(&pass.result(&shape), a.dtype(), a, move || match pass {
        Pass::Forward => forward(&left, &first(&right)?, &shape, None),
        Pass::Images => input_gradient(&left, &first(&right)?, &shape),
        Pass::Kernels => weight_gradient(&left, &right, &shape)?.permute((0, 2, 3, 1))?.contiguous(),
    })
}
