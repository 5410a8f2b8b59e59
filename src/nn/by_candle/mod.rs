//! The operators of the parent module, made of candle's, for devices other than the CPU: no data leaves the device.
//! They run on CPU, too, where tests compare them with the kernels of `cpu`.
//!
//! | file | what |
//! |---|---|
//! | `conv2d` | convolution, by cuDNN if the feature is enabled |
//! | `batch_norm`, `max_pool`, `linear` | operators with hand-written gradients |
//! | `composed` | the rest, with candle's gradients |
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

/// Whether a tensor is handled by these operators.
pub(super) fn serves(x: &Tensor) -> bool {
    #[cfg(any(test, feature = "testing"))]
    if crate::testing::is_forced() {
        return true;
    }
    !x.device().is_cpu()
}
