//! Precision of products on a GPU.

use std::sync::atomic::{AtomicU8, Ordering};

use candle_core::DType;
use identity::Precision;

static PRECISION: AtomicU8 = AtomicU8::new(Precision::F32 as u8);

/// Sets the precision of the process; call it before any computation.
pub fn set_precision(precision: Precision) {
    PRECISION.store(precision as u8, Ordering::Relaxed);
    #[cfg(feature = "cuda")]
    candle_core::cuda_backend::set_gemm_reduced_precision_f32(precision == Precision::Tf32);
}

/// The precision of the process.
pub(super) fn precision() -> Precision {
    match PRECISION.load(Ordering::Relaxed) {
        1 => Precision::Tf32,
        2 => Precision::Bf16,
        _ => Precision::F32,
    }
}

/// The type of activations behind the first convolution of a network, for images of this type.
pub(super) fn activations(images: DType) -> DType {
    if precision() == Precision::Bf16 && images == DType::F32 { DType::BF16 } else { images }
}
