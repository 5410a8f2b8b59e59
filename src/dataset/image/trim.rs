//! Cuts off the dark surroundings of a fundus photograph.

use image::{RgbImage, imageops};

/// The highest level of the surroundings: JPEG leaves noise in black.
const DARK: u8 = 10;

/// The smallest part of an image that contains all pixels with a channel above [`DARK`]; all of it if none has.
pub(super) fn trimmed(image: RgbImage) -> RgbImage {
    let (width, height) = image.dimensions();
    let is_bright = |x: u32, y: u32| image.get_pixel(x, y).0.iter().any(|&level| level > DARK);
    let has_row = |y: &u32| (0..width).any(|x| is_bright(x, *y));
    let Some(top) = (0..height).find(has_row) else { return image };
    let bottom = (top..height).rfind(has_row).unwrap_or(top);
    let has_column = |x: &u32| (top..=bottom).any(|y| is_bright(*x, y));
    let left = (0..width).find(has_column).unwrap_or(0);
    let right = (left..width).rfind(has_column).unwrap_or(left);
    imageops::crop_imm(&image, left, top, right - left + 1, bottom - top + 1).to_image()
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn dark_edges_are_cut_off_and_dark_insides_kept() {
        let mut image = RgbImage::from_pixel(20, 10, Rgb([10, 3, 0]));
        image.put_pixel(4, 2, Rgb([0, 11, 0]));
        image.put_pixel(15, 6, Rgb([0, 0, 200]));
        let part = trimmed(image);
        assert_eq!(part.dimensions(), (12, 5));
        assert_eq!((part.get_pixel(0, 0).0, part.get_pixel(11, 4).0), ([0, 11, 0], [0, 0, 200]));
    }

    #[test]
    fn a_dark_image_and_a_single_bright_pixel_are_not_empty() {
        let mut image = RgbImage::from_pixel(5, 4, Rgb([10; 3]));
        assert_eq!(trimmed(image.clone()).dimensions(), (5, 4));
        image.put_pixel(4, 3, Rgb([11; 3]));
        assert_eq!(trimmed(image).dimensions(), (1, 1));
    }
}
