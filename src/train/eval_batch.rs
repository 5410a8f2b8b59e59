//! Batch sizes for inference.

use candle_core::Device;

/// Batch size for inference, at most.
pub const EVAL_BATCH: usize = 128;

/// Side in pixels of the largest images of which a CPU takes as many at once.
const EVAL_SIDE: usize = 64;

/// Batch size for inference on images with a side of `size` pixels. On a CPU, batches of larger images are smaller:
/// they are as fast, and take a fraction of the memory of a training step. An image has the same logits in any batch.
pub fn eval_batch(size: usize, device: &Device) -> usize {
    batch_for_inference(size, device.is_cpu())
}

/// As [`eval_batch`], where there is no device yet.
pub fn batch_for_inference(size: usize, on_cpu: bool) -> usize {
    let fits = EVAL_BATCH * EVAL_SIDE * EVAL_SIDE / (size * size).max(1);
    if on_cpu { fits.clamp(1, EVAL_BATCH) } else { EVAL_BATCH }
}
