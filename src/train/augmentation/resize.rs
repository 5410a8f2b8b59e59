//! Resizing of images on the CPU, at every draw of a training image.
//!
//! This is not the resizer of data sets, which has Pillow's levels exactly but computes an image only once. Here weights
//! have fewer bits, for vector instructions: levels are torchvision's up to rounding (`reference_tests`). Trained models
//! depend on that rounding.

use std::ops::Range;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

/// Writes the part of a square RGB image, `[side, side, 3]`, that has these rows and columns as `[size, size, 3]`, with
/// an antialiased bilinear filter.
pub(super) fn resize(
    image: &[u8],
    side: usize,
    [rows, columns]: [Range<usize>; 2],
    size: usize,
    out: &mut [u8],
) {
    if [side, rows.len(), columns.len()] == [size; 3] {
        return out.copy_from_slice(image);
    }
    let part: Vec<u8> = rows
        .clone()
        .flat_map(|row| &image[(row * side + columns.start) * 3..][..columns.len() * 3])
        .copied()
        .collect();
    let source = TypedImageRef::<U8x3>::from_buffer(columns.len() as u32, rows.len() as u32, &part);
    let source = source.expect("width * height * 3 bytes");
    let target = TypedImage::<U8x3>::from_buffer(size as u32, size as u32, out);
    let mut target = target.expect("size * size * 3 bytes");
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize_typed(&source, &mut target, &options).expect("both are 8-bit RGB");
}
