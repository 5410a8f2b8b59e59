//! JPEG files, decoded by libjpeg-turbo as Pillow does: to the same levels.

mod complete;
mod frame;
mod plain;

use image::RgbImage;
use image::metadata::Orientation;
use turbojpeg::{Colorspace, DecompressHeader, Decompressor, Error, Image, PixelFormat};

use self::complete::is_complete;
use self::frame::START_OF_SCAN;
use self::plain::{drop_last, plain, skipped};
use super::whole::{JPEG_START, markers};

/// Most scans of a progressive file, which has about ten. Many scans in a small file take very long.
const MAX_SCANS: u32 = 500;

/// How often bytes before the end are dropped; libjpeg-turbo does not count those that it has read ahead.
const MAX_DROPS: usize = 4;

/// How libjpeg-turbo begins to say that pixels are guessed. Source: its jerror.h.
const DAMAGE: [&str; 3] =
    ["Corrupt JPEG data", "Premature end of JPEG file", "Inconsistent progression sequence"];

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
    /// What is decoded.
    plain: Vec<u8>,
    decompressor: Decompressor,
    header: DecompressHeader,
}

impl<'a> Jpeg<'a> {
    /// # Errors
    /// A message: the header is damaged, or of a kind that is not supported, or out of memory.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut decompressor = Decompressor::new().map_err(message)?;
        decompressor.set_scan_limit(MAX_SCANS).map_err(message)?;
        let plain = plain(bytes)?;
        let header = decompressor.read_header(&plain).map_err(message)?;
        Ok(Self { bytes, plain, decompressor, header })
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
    /// A message: pixels are damaged or missing, or of a kind that is not supported, or out of memory.
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
        self.decode(&mut pixels, format)?;
        match is_complete(&self.plain) {
            true => Ok(pixels),
            false => Err("pixels are damaged or missing (the file ends before its last scan)".into()),
        }
    }

    fn decode(&mut self, pixels: &mut [u8], format: PixelFormat) -> Result<(), String> {
        let mut decoded = self.decode_once(pixels, format);
        for _ in 0..MAX_DROPS {
            let Some(count) = decoded.as_ref().err().and_then(|warning| skipped(warning)) else { break };
            // This warning hides later ones: without these bytes, there may be none.
            drop_last(&mut self.plain, count);
            decoded = self.decode_once(pixels, format);
        }
        decoded.map_err(described)
    }

    fn decode_once(&mut self, pixels: &mut [u8], format: PixelFormat) -> Result<(), String> {
        let DecompressHeader { width, height, .. } = self.header;
        let image = Image { pixels, width, pitch: width * format.size(), height, format };
        self.decompressor.decompress(&self.plain, image).map_err(message)
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

/// What is wrong with a file of which libjpeg-turbo says this.
fn described(problem: String) -> String {
    match DAMAGE.iter().any(|damage| problem.starts_with(damage)) {
        true => format!("pixels are damaged or missing ({problem})"),
        false => problem,
    }
}

fn message(error: Error) -> String {
    match error {
        Error::TurboJpegError(message) => message,
        other => other.to_string(),
    }
}

#[cfg(test)]
pub(super) mod tests;
