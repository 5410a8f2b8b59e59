//! The operators of the folder above by candle's own, for devices other than the processor: nothing leaves the
//! device. They run on the processor, too, where tests hold them against the kernels of `cpu`.
//!
//! | file | what |
//! |---|---|
//! | `conv2d` | convolution, through cuDNN if the feature is there |
//! | `batch_norm`, `max_pool`, `linear` | written out with their gradients |
//! | `composed` | the rest, whose gradients are candle's |
//! | `cudnn` | cuDNN's three convolutions |

pub(super) mod batch_norm;
pub(super) mod composed;
pub(super) mod conv2d;
#[cfg(feature = "cudnn")]
mod cudnn;
pub(super) mod linear;
pub(super) mod max_pool;
mod precision;
#[cfg(test)]
mod tests;

use candle_core::Tensor;

pub use precision::set_precision;

/// Whether the operators here compute with a tensor.
pub(super) fn serves(x: &Tensor) -> bool {
    #[cfg(any(test, feature = "testing"))]
    if crate::testing::is_forced() {
        return true;
    }
    !x.device().is_cpu()
}
