//! Decoding of image files, and resizing.

mod dicom;
mod fit;
mod jpeg;
mod resample;
mod trim;
mod whole;

use std::io::{Cursor, Read};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};

use self::dicom::Dicom;
use self::fit::Picture;
use self::jpeg::Jpeg;
use self::resample::{Resampled, resample};
use super::pixels::{Interpolation, PixelSpec};

/// Default limit of the pixels of an image: decoding one takes less than 1 GB.
pub(super) const MAX_PIXELS: u64 = 64_000_000;

/// Largest number of bytes per pixel while an image is decoded: RGBA with 16 bits, and RGB with 16 bits.
const BYTES_PER_PIXEL: u64 = 14;

/// Largest image file, in bytes.
const LARGEST_FILE: u64 = 1 << 30;

/// A JPEG, PNG or DICOM file, recognized by its content. It is whole and has a reasonable number of pixels, but its
/// pixels may be damaged.
pub(super) struct Encoded<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
    pixels: &'a PixelSpec,
    /// How to turn or mirror it, by its metadata.
    orientation: Orientation,
    /// Width and height of the upright image.
    pub(super) extent: [u32; 2],
    /// Whether it has 16 bits per channel.
    pub(super) is_deep: bool,
}

impl<'a> Encoded<'a> {
    /// Reads a file and its header.
    ///
    /// # Errors
    /// A message: the file cannot be read, is neither JPEG, PNG nor DICOM, is truncated, or has no pixels or more than
    /// `max_pixels`.
    pub(super) fn read(path: &'a Path, pixels: &'a PixelSpec) -> Result<Self, String> {
        let bytes = kind::file::read(path, LARGEST_FILE)
            .map_err(|error| format!("failed to read {}: {error}", path.display()))?;
        let orientation = Orientation::NoTransforms;
        let mut encoded = Self { path, bytes, pixels, orientation, extent: [0; 2], is_deep: false };
        if encoded.is_dicom() {
            let (width, height) = encoded.dicom()?.dimensions();
            encoded.check_pixels((width, height))?;
            encoded.extent = [width, height];
            return Ok(encoded);
        }
        if !whole::is_whole(&encoded.bytes) {
            return Err(encoded.unusable("it is truncated; copy or download it again"));
        }
        encoded.read_header()?;
        Ok(encoded)
    }

    /// Digest of the file and of how its pixels are read, except for the options.
    ///
    /// It is that of the bytes alone unless they are read in another way than by revision 1, which ignored the
    /// orientation: so the digests, and with them the results, of other images stay.
    pub(super) fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.bytes);
        if self.orientation != Orientation::NoTransforms {
            hasher.update(b"orientation").update(&[self.orientation.to_exif()]);
        }
        hasher.finalize()
    }

    /// The largest level of the red, green and blue channels, from 0 to 65535; for images with 16 bits.
    ///
    /// # Errors
    /// A message: the file is damaged.
    pub(super) fn largest_level(&self) -> Result<u16, String> {
        Ok(self.decoded()?.into_rgb16().iter().copied().max().unwrap_or(0))
    }

    /// Decodes the image and makes it a square of `size` pixels.
    ///
    /// `out` receives `[size, size, 3]` bytes. Alpha is dropped, gray is replicated. 16 bits are reduced to 8: the range
    /// of `bits` bits becomes 0 to 255, that of all 16 if absent.
    ///
    /// # Errors
    /// A message: the file is damaged, or a level exceeds `bits`.
    pub(super) fn draw(&self, size: usize, out: &mut [u8]) -> Result<(), String> {
        let upright = self.upright(self.rgb()?);
        let image = if self.pixels.trim_borders { trim::trimmed(upright) } else { upright };
        let [width, height] = [image.width(), image.height()].map(|side| side as usize);
        fit::fit(Picture { rgb: image.as_raw(), width, height }, self.pixels, size, out);
        Ok(())
    }

    /// Whether it is a DICOM file.
    pub(super) fn is_dicom(&self) -> bool {
        dicom::is_dicom(&self.bytes)
    }

    fn dicom(&self) -> Result<Dicom<'_>, String> {
        Dicom::read(&self.bytes).map_err(|problem| self.unusable(&problem))
    }

    fn jpeg(&self) -> Result<Jpeg<'_>, String> {
        Jpeg::read(&self.bytes).map_err(|problem| self.unusable(&problem))
    }

    fn rgb(&self) -> Result<RgbImage, String> {
        if self.is_dicom() {
            return self.dicom()?.rgb(self.pixels.window).map_err(|problem| self.unusable(&problem));
        }
        if jpeg::is_jpeg(&self.bytes) {
            return self.jpeg()?.rgb().map_err(|problem| self.unusable(&problem));
        }
        let decoded = self.decoded()?;
        match self.pixels.bits {
            Some(bits) if self.is_deep => self.reduced(decoded, bits),
            _ => Ok(decoded.into_rgb8()),
        }
    }

    /// Pillow's `ImageOps.exif_transpose`.
    fn upright(&self, image: RgbImage) -> RgbImage {
        let mut image = DynamicImage::from(image);
        image.apply_orientation(self.orientation);
        image.into_rgb8()
    }

    /// v ↦ round(255 v / (2^bits − 1))
    fn reduced(&self, decoded: DynamicImage, bits: u32) -> Result<RgbImage, String> {
        let deep = decoded.into_rgb16();
        let white = white(bits);
        if let Some(level) = deep.iter().find(|level| **level > white) {
            let message = format!("level {level} exceeds {white}, the largest of `bits = {bits}`");
            return Err(format!("{}: {message}; raise `pixels.bits`", self.path.display()));
        }
        let white = u32::from(white);
        let reduced = |level: &u16| ((u32::from(*level) * 255 + white / 2) / white) as u8;
        let levels = deep.iter().map(reduced).collect();
        Ok(RgbImage::from_raw(deep.width(), deep.height(), levels).expect("a level for each level"))
    }

    fn decoded(&self) -> Result<DynamicImage, String> {
        let decoder = self.decoder()?;
        let bytes = decoder.total_bytes();
        let room = Vec::<u8>::new().try_reserve_exact(usize::try_from(bytes).unwrap_or(usize::MAX));
        room.map_err(|_| self.unusable(&format!("out of memory: it takes {bytes} bytes")))?;
        DynamicImage::from_decoder(decoder).map_err(|error| self.unusable(&error.to_string()))
    }

    fn decoder(&self) -> Result<impl ImageDecoder + '_, String> {
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(self.pixels.max_pixels.saturating_mul(BYTES_PER_PIXEL).max(LARGEST_FILE));
        let mut reader = ImageReader::new(Cursor::new(&self.bytes[..]));
        reader.limits(limits);
        let decoder = reader.with_guessed_format().map_err(image::ImageError::IoError);
        decoder.and_then(ImageReader::into_decoder).map_err(|error| self.unusable(&error.to_string()))
    }

    fn read_header(&mut self) -> Result<(), String> {
        let (extent, orientation, is_deep) = self.header()?;
        self.check_pixels(extent)?;
        self.orientation = orientation;
        self.extent = upright_extent(extent, orientation);
        self.is_deep = is_deep;
        Ok(())
    }

    /// Width and height, how to turn it, and whether it has 16 bits per channel.
    fn header(&self) -> Result<((u32, u32), Orientation, bool), String> {
        if jpeg::is_jpeg(&self.bytes) {
            let jpeg = self.jpeg()?;
            return Ok((jpeg.dimensions(), jpeg.orientation(), false));
        }
        let mut decoder = self.decoder()?;
        let orientation = decoder.orientation().map_err(|error| self.unusable(&error.to_string()))?;
        let color = decoder.color_type();
        Ok((decoder.dimensions(), orientation, color.bytes_per_pixel() > color.channel_count()))
    }

    fn check_pixels(&self, (width, height): (u32, u32)) -> Result<(), String> {
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 {
            return Err(self.unusable(&format!("it has no pixels ({width} x {height})")));
        }
        if pixels <= self.pixels.max_pixels {
            return Ok(());
        }
        let megabytes = pixels.saturating_mul(BYTES_PER_PIXEL) / 1_000_000;
        Err(self.unusable(&format!(
            "it has {width} x {height} = {pixels} pixels, more than `max_pixels` ({}), and could run out of memory; \
             shrink it, or raise `max_pixels` (decoding takes up to {megabytes} MB)",
            self.pixels.max_pixels
        )))
    }

    fn unusable(&self, why: &str) -> String {
        let format = if self.is_dicom() { "DICOM" } else { "JPEG, PNG or DICOM" };
        format!("{} cannot be decoded as {format}: {why}", self.path.display())
    }
}

/// Whether a file is DICOM, by its first bytes; false if it cannot be read.
pub(super) fn is_dicom(path: &Path) -> bool {
    let mut start = [0; dicom::START];
    let read = kind::file::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && dicom::is_dicom(&start)
}

/// Width and height after turning.
fn upright_extent((width, height): (u32, u32), orientation: Orientation) -> [u32; 2] {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    match orientation {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => [height, width],
        _ => [width, height],
    }
}

/// The largest level of so many bits.
pub(super) fn white(bits: u32) -> u16 {
    u16::MAX >> 16u32.saturating_sub(bits).min(15)
}

/// Resizes RGB `[height, width, 3]` to `[new_height, new_width, 3]` as Pillow's `resize((new_width, new_height),
/// BILINEAR)`: with the triangle filter, antialiased when shrinking. The aspect ratio is not preserved.
pub(super) fn resize(
    rgb: &[u8],
    (width, height): (usize, usize),
    (new_width, new_height): (usize, usize),
    out: &mut [u8],
) {
    let [across, down] = [(width, new_width), (height, new_height)].map(|(source, full)| Resampled {
        source,
        full,
        kept: 0..full,
    });
    resample(Picture { rgb, width, height }, Interpolation::Bilinear, &across, &down, out);
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

    fn decode(path: &Path, size: usize, out: &mut [u8]) -> Result<(), String> {
        Encoded::read(path, &PixelSpec::default())?.draw(size, out)
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

    #[test]
    fn shrinking_and_growing_agree_with_pillow() {
        let mut small = vec![0; 8 * 8 * 3];
        resize(&picture(), (40, 30), (8, 8), &mut small);
        assert_eq!([&small[2 * 24..3 * 24], &small[5 * 24..6 * 24]].concat(), SMALL);
        let mut large = vec![0; 64 * 64 * 3];
        resize(&picture(), (40, 30), (64, 64), &mut large);
        let columns = [4, 8, 10, 36, 38, 40].map(|column| (26 * 64 + column) * 3);
        assert_eq!(columns.map(|start| &large[start..start + 3]).concat(), LARGE);
    }

    #[test]
    fn an_image_of_the_right_size_is_kept() {
        let mut out = vec![0; 12];
        resize(&[7, 8, 9, 1, 2, 3, 4, 5, 6, 0, 0, 0], (2, 2), (2, 2), &mut out);
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
        RgbImage::from_fn(40, 40, |x, y| image::Rgb([x as u8, y as u8, 7])).save(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let message = decode(&path, 2, &mut [0; 12]).unwrap_err();
        assert!(message.contains("cut.png cannot be decoded"), "{message}");
    }

    fn deep(level: u16) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep.png");
        image::ImageBuffer::from_pixel(1, 1, image::Luma([level])).save(&path).unwrap();
        (folder, path)
    }

    #[test]
    fn f02_sixteen_bits_are_scaled_by_the_bits_of_the_data() {
        let (_folder, path) = deep(4095);
        let spec = PixelSpec::default();
        let image = Encoded::read(&path, &spec).unwrap();
        assert!(image.is_deep);
        assert_eq!(image.largest_level().unwrap(), 4095);
        let level = |bits| PixelSpec { bits, ..PixelSpec::default() }.read(&path, 1).map(|rgb| rgb[0]);
        assert_eq!(
            (level(Some(12)), level(Some(13)), level(Some(16)), level(None)),
            (Ok(255), Ok(127), Ok(16), Ok(16))
        );
        let message = level(Some(11)).unwrap_err();
        assert!(
            message.contains("deep.png: level 4095 exceeds 2047, the largest of `bits = 11`"),
            "{message}"
        );
    }

    #[test]
    fn f02_all_levels_of_sixteen_bits_are_reduced_as_before() {
        let all = image::ImageBuffer::from_fn(256, 256, |x, y| image::Luma([(256 * y + x) as u16]));
        let (_folder, path) = deep(0);
        all.save(&path).unwrap();
        let read = |bits| PixelSpec { bits, ..PixelSpec::default() }.read(&path, 256).unwrap();
        let (before, now) = (read(None), read(Some(16)));
        assert_eq!(before, image::open(&path).unwrap().into_rgb8().into_raw());
        assert_eq!(before, now);
    }

    #[test]
    fn f22_pixels_are_counted_before_they_are_decoded() {
        let (_folder, path) = deep(7);
        image::GrayImage::new(30, 20).save(&path).unwrap();
        let read = |max_pixels| PixelSpec { max_pixels, ..PixelSpec::default() }.read(&path, 1);
        assert!(read(600).is_ok());
        let message = read(599).unwrap_err();
        assert!(message.contains("it has 30 x 20 = 600 pixels, more than `max_pixels` (599)"), "{message}");
    }

    #[test]
    fn f22_an_image_without_pixels_is_an_error() {
        let (_folder, path) = deep(7);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[16..20].fill(0);
        std::fs::write(&path, &bytes).unwrap();
        assert!(PixelSpec::default().read(&path, 1).is_err());
    }
}
