//! Resizing without regard to the aspect ratio, of which many results depend on the last bit.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

/// Writes an RGB image of a width and a height as one of others, `[height, width, 3]`, with the triangle filter,
/// antialiased when shrinking. It rounds some levels differently from Pillow, by 1.
///
/// # Panics
/// If an image does not have `width · height · 3` bytes.
pub fn stretch(
    image: &[u8],
    (width, height): (usize, usize),
    (new_width, new_height): (usize, usize),
    out: &mut [u8],
) {
    // Typed images, so that the resizer for other pixel types is not compiled.
    let source = TypedImageRef::<U8x3>::from_buffer(width as u32, height as u32, image);
    let source = source.expect("width * height * 3 bytes");
    let target = TypedImage::<U8x3>::from_buffer(new_width as u32, new_height as u32, out);
    let mut target = target.expect("width * height * 3 bytes");
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize_typed(&source, &mut target, &options).expect("both are 8-bit RGB");
}
