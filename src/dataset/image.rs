//! Decoding and resizing of images.

use std::path::Path;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

/// Decodes a JPEG or PNG file, recognized by its content, and resizes it to `size` x `size`.
///
/// `out` receives `[size, size, 3]` bytes. Alpha is dropped, gray is replicated, 16 bits are reduced to 8; the
/// orientation in the metadata is ignored.
///
/// # Errors
/// A message: the file cannot be read, is neither JPEG nor PNG, or is damaged.
pub(super) fn decode(path: &Path, size: usize, out: &mut [u8]) -> Result<(), String> {
    let bytes = std::fs::read(path).map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    let image = image::load_from_memory(&bytes)
        .map_err(|error| format!("{} cannot be decoded as JPEG or PNG: {error}", path.display()))?
        .into_rgb8();
    resize(image.as_raw(), image.width() as usize, image.height() as usize, size, out);
    Ok(())
}

/// Checks the header of a JPEG or PNG file, recognized by its content.
///
/// # Errors
/// A message: the file cannot be read, is neither JPEG nor PNG, or has a damaged header.
pub(super) fn examine(path: &Path) -> Result<(), String> {
    let reader = image::ImageReader::open(path).and_then(image::ImageReader::with_guessed_format);
    let reader = reader.map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    match reader.into_dimensions() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{} cannot be decoded as JPEG or PNG: {error}", path.display())),
    }
}

/// Resizes RGB `[height, width, 3]` to `[size, size, 3]` with the triangle filter, antialiased when shrinking: Pillow's
/// `resize((size, size), BILINEAR)`. The aspect ratio is not preserved.
pub(super) fn resize(rgb: &[u8], width: usize, height: usize, size: usize, out: &mut [u8]) {
    if (width, height) == (size, size) {
        out.copy_from_slice(rgb);
        return;
    }
    // Typed images, so that the resizer for other pixel types is not compiled.
    let source = TypedImageRef::<U8x3>::from_buffer(width as u32, height as u32, rgb);
    let source = source.expect("width * height * 3 bytes");
    let target = TypedImage::<U8x3>::from_buffer(size as u32, size as u32, out);
    let mut target = target.expect("size * size * 3 bytes");
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize_typed(&source, &mut target, &options).expect("both are 8-bit RGB");
}

/// Writes gray `[pixels]` as RGB `[pixels, 3]`.
pub(super) fn repeat_gray(gray: &[u8], rgb: &mut [u8]) {
    for (&level, pixel) in gray.iter().zip(rgb.chunks_exact_mut(3)) {
        pixel.fill(level);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 40 x 30 pixels: a disc on a gradient, with different levels per channel.
    fn picture() -> Vec<u8> {
        let level = |x: i32, y: i32, c: i32| match (x - 15).pow(2) + (y - 12).pow(2) < 90 {
            true => 250 - 60 * c,
            false => 5 * x + 2 * y + 10 * c,
        };
        let pixels = (0..30).flat_map(|y| (0..40).map(move |x| (x, y)));
        pixels.flat_map(|(x, y)| [0, 1, 2].map(|c| level(x, y, c) as u8)).collect()
    }

    /// Pillow's result for the same image:
    ///
    /// ```python
    /// y, x, c = np.mgrid[0:30, 0:40, 0:3]
    /// a = np.where((x - 15) ** 2 + (y - 12) ** 2 < 90, 250 - 60 * c, x * 5 + y * 2 + c * 10).astype(np.uint8)
    /// small = np.asarray(Image.fromarray(a).resize((8, 8), Image.BILINEAR))[[2, 5]]
    /// large = np.asarray(Image.fromarray(a).resize((64, 64), Image.BILINEAR))[26, [4, 8, 10, 36, 38, 40]]
    /// ```
    const SMALL: [u8; 48] = [
        33, 42, 51, 175, 141, 106, 250, 190, 130, 250, 190, 130, 227, 182, 137, 160, 166, 171, 178, 188, 198,
        201, 211, 221, 52, 62, 72, 100, 100, 99, 196, 161, 126, 216, 176, 136, 177, 170, 164, 175, 185, 195,
        200, 210, 220, 223, 233, 226,
    ];
    const LARGE: [u8; 18] =
        [36, 46, 56, 48, 58, 68, 250, 190, 130, 250, 190, 130, 250, 190, 130, 168, 165, 162];

    fn assert_near(ours: &[u8], pillows: &[u8]) {
        assert_eq!(ours.len(), pillows.len());
        assert!(ours.iter().zip(pillows).all(|(a, b)| a.abs_diff(*b) <= 1), "{ours:?}\n{pillows:?}");
    }

    #[test]
    fn shrinking_and_growing_agree_with_pillow() {
        let mut small = vec![0; 8 * 8 * 3];
        resize(&picture(), 40, 30, 8, &mut small);
        assert_near(&[&small[2 * 24..3 * 24], &small[5 * 24..6 * 24]].concat(), &SMALL);
        let mut large = vec![0; 64 * 64 * 3];
        resize(&picture(), 40, 30, 64, &mut large);
        let columns = [4, 8, 10, 36, 38, 40].map(|column| (26 * 64 + column) * 3);
        assert_near(&columns.map(|start| &large[start..start + 3]).concat(), &LARGE);
    }

    #[test]
    fn an_image_of_the_right_size_is_kept() {
        let mut out = vec![0; 12];
        resize(&[7, 8, 9, 1, 2, 3, 4, 5, 6, 0, 0, 0], 2, 2, 2, &mut out);
        assert_eq!(out, [7, 8, 9, 1, 2, 3, 4, 5, 6, 0, 0, 0]);
    }

    #[test]
    fn gray_with_alpha_and_sixteen_bits_become_rgb() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gray.png");
        let mut out = [0; 3];
        image::ImageBuffer::from_pixel(1, 1, image::LumaA([9u8, 0])).save(&path).unwrap();
        decode(&path, 1, &mut out).unwrap();
        assert_eq!(out, [9; 3]);
        image::ImageBuffer::from_pixel(1, 1, image::Luma([0x8080u16])).save(&path).unwrap();
        decode(&path, 1, &mut out).unwrap();
        assert_eq!(out, [0x80; 3]);
    }

    #[test]
    fn a_truncated_image_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.png");
        image::RgbImage::from_fn(40, 40, |x, y| image::Rgb([x as u8, y as u8, 7])).save(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let message = decode(&path, 2, &mut [0; 12]).unwrap_err();
        assert!(message.contains("cut.png cannot be decoded"), "{message}");
    }
}
