//! Normalization of images that were uploaded as bytes.

use candle_core::{DType, Device, Result, Shape, Tensor, bail};

use super::launch::Launch;
use super::to_be_written;
use super::transfer::upload;
use crate::Normalize;

/// `Channels` in `kernels/elementwise.cu`.
#[repr(C)]
struct Channels {
    mean: [f32; 3],
    std: [f32; 3],
}

/// Levels of red, green and blue, `[.., 3]`, normalized in f32 on a GPU, to the bits of [`Normalize::table`].
///
/// # Errors
/// The shape has another number of elements, or the device is out of memory.
pub fn normalized(
    levels: &[u8],
    shape: impl Into<Shape>,
    normalize: &Normalize,
    device: &Device,
) -> Result<Tensor> {
    let shape = shape.into();
    if shape.elem_count() != levels.len() || !levels.len().is_multiple_of(3) {
        bail!("{} levels are no images {shape:?}", levels.len());
    }
    let (from, n) = (upload(levels, device)?, levels.len() / 3);
    let y = to_be_written(shape, DType::F32, &from)?;
    let channels = Channels { mean: normalize.mean, std: normalize.std };
    Launch::new("normalize", &y).tensor(&from)?.tensor(&y)?.table(&channels).long(n).over(n)?;
    Ok(y)
}
