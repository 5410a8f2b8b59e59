//! JPEG files, decoded by libjpeg-turbo as Pillow does: to the same levels.

use image::RgbImage;
use image::metadata::Orientation;
use turbojpeg::{Colorspace, DecompressHeader, Decompressor, Error, Image, PixelFormat};

use super::whole::{JPEG_START, markers};

/// Most scans of a progressive file, which has about ten. Many scans in a small file take very long.
const MAX_SCANS: u32 = 500;

/// What libjpeg-turbo warns of though all pixels are right.
const HARMLESS: [&str; 3] =
    ["extraneous bytes before marker", "Invalid SOS parameters", "Unknown Adobe color transform code"];

/// Marker of the end of the header.
const START_OF_SCAN: u8 = 0xda;

/// Marker of a segment that may hold Exif data.
const APP1: u8 = 0xe1;

/// What Exif data begin with.
const EXIF: &[u8] = b"Exif\0\0";

/// Whether a file is JPEG, by its first bytes.
pub(super) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(JPEG_START)
}

/// A JPEG file with a valid header.
pub(super) struct Jpeg<'a> {
    bytes: &'a [u8],
    decompressor: Decompressor,
    header: DecompressHeader,
}

impl<'a> Jpeg<'a> {
    /// # Errors
    /// A message: the header is damaged, or of a kind that is not supported.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut decompressor = Decompressor::new().map_err(message)?;
        decompressor.set_scan_limit(MAX_SCANS).map_err(message)?;
        let header = decompressor.read_header(bytes).map_err(message)?;
        Ok(Self { bytes, decompressor, header })
    }

    /// Width and height.
    pub(super) fn dimensions(&self) -> (u32, u32) {
        // JPEG has 16 bits for each.
        (self.header.width as u32, self.header.height as u32)
    }

    /// How to turn or mirror it, by its Exif data.
    pub(super) fn orientation(&self) -> Orientation {
        let header = markers(self.bytes).take_while(|(marker, _)| *marker != START_OF_SCAN);
        let exif = header.filter(|(marker, _)| *marker == APP1).find_map(|(_, at)| {
            let length = u16::from_be_bytes(*self.bytes.get(at + 2..)?.first_chunk()?);
            self.bytes.get(at + 4..at + 2 + usize::from(length))?.strip_prefix(EXIF)
        });
        exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
    }

    /// The pixels. Gray is replicated, CMYK is converted as by Pillow.
    ///
    /// # Errors
    /// A message: pixels are damaged or missing, or out of memory.
    pub(super) fn rgb(mut self) -> Result<RgbImage, String> {
        let (width, height) = self.dimensions();
        let pixels = match self.header.colorspace {
            Colorspace::CMYK | Colorspace::YCCK => rgb_of_cmyk(&self.decoded(PixelFormat::CMYK)?),
            _ => self.decoded(PixelFormat::RGB)?,
        };
        Ok(RgbImage::from_raw(width, height, pixels).expect("three levels for each pixel"))
    }

    fn decoded(&mut self, format: PixelFormat) -> Result<Vec<u8>, String> {
        let DecompressHeader { width, height, .. } = self.header;
        let pitch = width * format.size();
        let mut pixels = Vec::new();
        let room = pixels.try_reserve_exact(pitch * height);
        room.map_err(|_| format!("out of memory: it takes {} bytes", pitch * height))?;
        pixels.resize(pitch * height, 0);
        let image = Image { pixels: &mut pixels[..], width, pitch, height, format };
        match self.decompressor.decompress(self.bytes, image).map_err(message) {
            Err(problem) if !HARMLESS.iter().any(|harmless| problem.contains(harmless)) => {
                Err(format!("pixels are damaged or missing ({problem})"))
            }
            _ => Ok(pixels),
        }
    }
}

/// From inverted CMYK, as Adobe stores it. Source: Pillow's `cmyk2rgb`.
fn rgb_of_cmyk(cmyk: &[u8]) -> Vec<u8> {
    let (pixels, _) = cmyk.as_chunks::<4>();
    pixels.iter().flat_map(|&[c, m, y, k]| [c, m, y].map(|ink| k - share(255 - ink, k))).collect()
}

/// round(a b / 255)
fn share(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}

fn message(error: Error) -> String {
    match error {
        Error::TurboJpegError(message) => message,
        other => other.to_string(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn inks_darken_what_black_leaves() {
        assert_eq!(rgb_of_cmyk(&[255, 0, 128, 255, 255, 255, 255, 0]), [255, 0, 128, 0, 0, 0]);
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        for bytes in
            [&b"\xff\xd8"[..], b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xe1\0", b"\xff\xd8\xff\xe1\0\x08Exif\0\0"]
        {
            assert!(Jpeg::read(bytes).is_err(), "{bytes:?}");
        }
    }

    /// 40 x 30 pixels.
    pub(crate) fn encoded() -> Vec<u8> {
        let pixels: Vec<u8> = (0..40 * 30).flat_map(|at| [(at * at / 40) as u8, (6 * at) as u8, 7]).collect();
        let image =
            Image { pixels: &pixels[..], width: 40, pitch: 120, height: 30, format: PixelFormat::RGB };
        turbojpeg::compress(image, 90, turbojpeg::Subsamp::Sub2x2).unwrap().to_vec()
    }

    #[test]
    fn f02_a_file_that_was_cut_and_closed_is_an_error() {
        let bytes = encoded();
        let rgb = |bytes: &[u8]| Jpeg::read(bytes).and_then(Jpeg::rgb);
        assert!(rgb(&bytes).is_ok());
        let scan = markers(&bytes).find(|(marker, _)| *marker == START_OF_SCAN).unwrap().1;
        for length in scan + 14..bytes.len() - 8 {
            let closed = [&bytes[..length], b"\xff\xd9"].concat();
            assert!(rgb(&closed).is_err(), "cut to {length} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn bytes_after_a_segment_are_harmless() {
        let bytes = encoded();
        let end = bytes.len() - 2;
        let padded = [&bytes[..end], b"\0\0\0", &bytes[end..]].concat();
        let rgb = |bytes| Jpeg::read(bytes).and_then(Jpeg::rgb).unwrap();
        assert_eq!(rgb(&padded), rgb(&bytes));
    }
}
