//! The operators of the parent module on a GPU: CUDA kernels of our own, cuDNN's convolutions, cuBLAS's products.
//!
//! | file | what |
//! |---|---|
//! | `kernels/` | the kernels, in CUDA C++; for f32, bf16 and f64 |
//! | `launch` | launching them: on a GPU, or in tests on the CPU |
//! | `columns` | how threads are divided among the columns of a matrix |
//! | `convolve`, `cudnn` | the three convolutions: by cuDNN, by cuBLAS where that is faster, or in tests by the CPU's kernels |
//! | `conv2d`, `batch_norm`, `pool`, `linear`, `layer_norm`, `attention`, `elementwise`, `weighted_sum` | operators with their gradients |
//! | `window` | windows that slide over images |
//! | `loss` | cross entropy with its gradient |
//! | `normalize`, `transfer` | images on their way to the device, numbers on their way back |
//! | [`update`] | optimizers and running statistics: all tensors in one launch |
//! | `graph`, `recording` | steps that are captured once and replayed: as CUDA graphs, or in tests on the CPU |
//! | `precision`, `setup` | precision of products; what is set once a process |
//!
//! Operators copy nothing to or from the device, and nothing waits for it. Activations are f32, or bf16 between the first
//! convolution and the features where that is asked for; parameters, statistics, sums and gradients of parameters are
//! f32 always. In tests all of it runs on the CPU in f64, where it agrees with the CPU's operators to 1e-9.

pub(super) mod attention;
pub(super) mod batch_norm;
mod columns;
pub(super) mod conv2d;
mod convolve;
#[cfg(feature = "cuda")]
mod cudnn;
pub(super) mod elementwise;
mod graph;
#[cfg(test)]
mod graph_tests;
mod launch;
pub(super) mod layer_norm;
pub(super) mod linear;
mod loss;
mod normalize;
pub(super) mod pool;
mod precision;
#[cfg(feature = "testing")]
mod recording;
mod setup;
#[cfg(test)]
mod tests;
mod transfer;
pub mod update;
pub(super) mod weighted_sum;
mod window;

use candle_core::{DType, Device, Result, Tensor};

pub use elementwise::copy;
pub use graph::Graph;
pub use launch::cast;
#[cfg(feature = "testing")]
pub(crate) use launch::{launches, order_of_threads};
pub use loss::cross_entropy;
pub use normalize::normalized;
pub use precision::set_precision;
pub use setup::open;
pub use transfer::ReadBack;

/// Whether a tensor is handled by these operators.
pub fn serves(x: &Tensor) -> bool {
    serves_on(x.device())
}

/// Whether tensors on a device are.
pub fn serves_on(device: &Device) -> bool {
    #[cfg(feature = "testing")]
    if crate::testing::is_forced() {
        return true;
    }
    !device.is_cpu()
}

/// The type of parameters, statistics and sums for activations of this type.
pub(crate) fn wide(dtype: DType) -> DType {
    if dtype == DType::BF16 { DType::F32 } else { dtype }
}

/// A tensor whose elements are still to be written.
fn to_be_written(shape: impl Into<candle_core::Shape>, dtype: DType, like: &Tensor) -> Result<Tensor> {
    // SAFETY: every caller passes it to a kernel that writes all its elements.
    let tensor = unsafe { Tensor::empty(shape, dtype, like.device()) }?;
    #[cfg(feature = "testing")]
    recording::born(&tensor)?;
    Ok(tensor)
}
