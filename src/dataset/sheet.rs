//! Contact sheets: some images of each class in one PNG.

use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};
use rand::seq::SliceRandom;

use super::{DataError, Dataset, SplitName};
use rng::{Purpose, rng};

/// Smaller images are enlarged by a whole factor, so that they have at least this side.
const SMALLEST_TILE: usize = 64;

/// Pixels between images, and between classes.
const GAP: usize = 4;
const CLASS_GAP: usize = 12;

/// The most pixels of a sheet.
const MOST_PIXELS: usize = 100_000_000;

const PAPER: Rgb<u8> = Rgb([255; 3]);

/// The images of one class: lines of square RGB images, `[size, size, 3]`.
pub type Lines = Vec<Vec<Vec<u8>>>;

/// Positions of up to `count` images of each class in a split, drawn by a seed. Any count gives the first of the same
/// order.
pub fn choose(dataset: &Dataset, split: SplitName, count: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut of_class = vec![Vec::new(); dataset.classes.len()];
    let labels = &dataset.split(split).labels;
    for position in 0..labels.len() {
        labels.present(position).into_iter().for_each(|class| of_class[class].push(position));
    }
    for (class, positions) in of_class.iter_mut().enumerate() {
        positions.shuffle(&mut rng(seed, Purpose::Subset, split as u64, class as u64));
        positions.truncate(count);
    }
    of_class
}

/// The extents of a sheet.
#[derive(Clone, Copy, Debug)]
pub struct Sheet {
    /// Side of an image.
    size: usize,
    /// Side of one pixel of an image.
    scale: usize,
    width: u32,
    height: u32,
}

impl Sheet {
    /// A sheet for images of this side, with up to `columns` in a line and so many lines for each class.
    ///
    /// # Errors
    /// The sheet is too large. `path` is for the message.
    pub fn new(path: &Path, size: usize, columns: usize, lines: &[usize]) -> Result<Self, DataError> {
        let scale = SMALLEST_TILE.div_ceil(size).max(1);
        let step = size * scale + GAP;
        let (width, height) =
            (columns * step + GAP, lines.iter().sum::<usize>() * step + lines.len() * CLASS_GAP + GAP);
        if width.saturating_mul(height) > MOST_PIXELS {
            let message = format!("a sheet of {width} x {height} pixels is too large; choose fewer images");
            return Err(DataError::new(path, message));
        }
        Ok(Self { size, scale, width: width as u32, height: height as u32 })
    }

    /// A PNG with the lines of each class below one another.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn png(&self, path: &Path, classes: &[Lines]) -> Result<Vec<u8>, DataError> {
        let step = self.size * self.scale + GAP;
        let mut sheet = RgbImage::from_pixel(self.width, self.height, PAPER);
        let mut top = GAP;
        for lines in classes {
            for line in lines {
                for (i, tile) in line.iter().enumerate() {
                    place(&mut sheet, tile, self.size, self.scale, (GAP + i * step, top));
                }
                top += step;
            }
            top += CLASS_GAP;
        }
        encoded(path, &sheet)
    }
}

/// Draws an image, each pixel as a square of `scale` pixels.
fn place(sheet: &mut RgbImage, tile: &[u8], size: usize, scale: usize, (left, top): (usize, usize)) {
    let (pixels, _) = tile.as_chunks::<3>();
    for y in 0..size * scale {
        for x in 0..size * scale {
            let pixel = pixels[y / scale * size + x / scale];
            sheet.put_pixel((left + x) as u32, (top + y) as u32, Rgb(pixel));
        }
    }
}

fn encoded(path: &Path, sheet: &RgbImage) -> Result<Vec<u8>, DataError> {
    let mut bytes = Cursor::new(Vec::new());
    sheet
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|error| DataError::new(path, format!("failed to encode the sheet: {error}")))?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_a_class_are_in_a_line_and_enlarged() {
        let red = [[255, 0, 0], [9, 9, 9], [9, 9, 9], [9, 9, 9]].concat();
        let blue = [0, 0, 255].repeat(4);
        let classes = [vec![vec![red.clone(), blue.clone()]], vec![vec![blue], vec![red]]];
        let path = Path::new("sheet.png");
        let png = Sheet::new(path, 2, 2, &[1, 2]).unwrap().png(path, &classes).unwrap();
        let sheet = image::load_from_memory(&png).unwrap().into_rgb8();
        assert_eq!(sheet.dimensions(), (2 * 68 + 4, 3 * 68 + 2 * 12 + 4));
        let at = |x, y| sheet.get_pixel(x, y).0;
        assert_eq!([at(3, 4), at(4, 4), at(35, 35), at(36, 4)], [[255; 3], [255, 0, 0], [255, 0, 0], [9; 3]]);
        assert_eq!([at(72, 4), at(4, 84), at(4, 152)], [[0, 0, 255], [0, 0, 255], [255, 0, 0]]);
        assert_eq!(at(72, 84), [255; 3], "the second class has one image a line");
    }

    #[test]
    fn a_sheet_that_is_too_large_is_an_error() {
        let error = Sheet::new(Path::new("sheet.png"), 8, 2000, &[20]).unwrap_err().to_string();
        assert!(error.contains("is too large; choose fewer images"), "{error}");
    }
}
