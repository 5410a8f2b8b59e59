//! How exact products are on a GPU.

use std::sync::atomic::{AtomicU8, Ordering};

use candle_core::{DType, Result, Tensor};

/// The numbers that products are computed with on a GPU. Weights, sums and everything else stay f32. It belongs to the
/// process, as the device does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Precision {
    /// f32 throughout.
    #[default]
    F32,
    /// Factors of all matrix products and convolutions rounded to 10 bits after the point, by tensor cores.
    Tf32,
    /// Factors and results of convolutions and linear layers rounded to bf16, 7 bits after the point; attention stays
    /// f32.
    Bf16,
}

static PRECISION: AtomicU8 = AtomicU8::new(Precision::F32 as u8);

/// Set the precision of the process, before anything is computed.
pub fn set_precision(precision: Precision) {
    PRECISION.store(precision as u8, Ordering::Relaxed);
    #[cfg(feature = "cuda")]
    candle_core::cuda_backend::set_gemm_reduced_precision_f32(precision == Precision::Tf32);
}

impl Precision {
    /// The process's.
    pub(super) fn current() -> Self {
        match PRECISION.load(Ordering::Relaxed) {
            1 => Self::Tf32,
            2 => Self::Bf16,
            _ => Self::F32,
        }
    }
}

/// `product` of two tensors in the process's precision, as f32 again.
pub(super) fn in_precision(
    a: &Tensor,
    b: &Tensor,
    product: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    if Precision::current() == Precision::Bf16 && a.dtype() == DType::F32 {
        return product(&a.to_dtype(DType::BF16)?, &b.to_dtype(DType::BF16)?)?.to_dtype(DType::F32);
    }
    product(a, b)
}
