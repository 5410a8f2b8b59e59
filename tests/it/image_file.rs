//! Image files for tests.

use std::path::Path;

use image::RgbImage;
use turbojpeg::{Image, PixelFormat, Subsamp};

/// As JPEG with subsampled colors, as cameras write it.
pub fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let [width, height] = [picture.width(), picture.height()].map(|side| side as usize);
    let pixels = picture.as_raw().as_slice();
    let image = Image { pixels, width, pitch: 3 * width, height, format: PixelFormat::RGB };
    turbojpeg::compress(image, 75, Subsamp::Sub2x2).expect("an image in memory").to_vec()
}

/// In the format that its name ends with.
pub fn save(picture: &RgbImage, path: impl AsRef<Path>) {
    let path = path.as_ref();
    match path.extension().is_some_and(|end| end == "png") {
        true => picture.save(path).expect("an image"),
        false => std::fs::write(path, jpeg(picture)).expect("an image"),
    }
}
