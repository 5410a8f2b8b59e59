//! DICOM files: gray levels as a viewer shows them, and RGB.
//!
//! Only what an image needs is read, and nothing is allocated by what a file claims: every length is checked against
//! the file first. Source: DICOM PS3.3 (C.7.6.3, C.11.1, C.11.2), PS3.5 and PS3.10.
//!
//! | file | what |
//! |---|---|
//! | this one | from a file to RGB |
//! | `elements` | data elements of a file |
//! | `attributes` | those that say how its pixels are stored and shown |
//! | `samples` | stored values: plain, RLE or JPEG |
//! | `levels` | from a stored value to a level: rescaling, window, inversion |

mod attributes;
mod elements;
mod levels;
mod samples;

use image::RgbImage;

use self::attributes::Attributes;
use self::levels::Levels;

/// Where the preamble ends.
const PREAMBLE: usize = 128;

/// Length of the preamble and `DICM`. Source: PS3.10, section 7.1.
pub(super) const START: usize = PREAMBLE + 4;

/// Whether a file is DICOM, by its content.
pub(super) fn is_dicom(bytes: &[u8]) -> bool {
    bytes.get(PREAMBLE..).is_some_and(|rest| rest.starts_with(b"DICM"))
}

/// A file whose attributes are supported. Its pixels may be damaged if they are compressed.
pub(super) struct Dicom<'a> {
    attributes: Attributes<'a>,
}

impl<'a> Dicom<'a> {
    /// Reads everything except compressed pixels. The file must be DICOM.
    ///
    /// # Errors
    /// A sentence: it is truncated, or its image cannot be shown.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        Ok(Self { attributes: Attributes::read(&bytes[START..])? })
    }

    /// Width and height.
    pub(super) fn dimensions(&self) -> (u32, u32) {
        (u32::from(self.attributes.columns), u32::from(self.attributes.rows))
    }

    /// The image. `window` overrides that of the file.
    ///
    /// # Errors
    /// A sentence: compressed pixels are damaged, or levels cannot be computed.
    pub(super) fn rgb(&self, window: Option<[f64; 2]>) -> Result<RgbImage, String> {
        let (width, height) = self.dimensions();
        let samples = samples::read(&self.attributes)?;
        let rgb = match self.attributes.is_gray() {
            true => Levels::new(&self.attributes, window)?.rgb(&samples),
            false => samples.into_iter().map(|level| level as u8).collect(),
        };
        RgbImage::from_raw(width, height, rgb).ok_or_else(|| "it has too few pixels".to_owned())
    }
}
