//! The attributes that say how pixels are stored and shown.

use std::collections::HashMap;

use super::elements::{Elements, name};

const TRANSFER_SYNTAX: u32 = 0x0002_0010;
const SAMPLES: u32 = 0x0028_0002;
const PHOTOMETRIC: u32 = 0x0028_0004;
const PLANAR: u32 = 0x0028_0006;
const FRAMES: u32 = 0x0028_0008;
const ROWS: u32 = 0x0028_0010;
const COLUMNS: u32 = 0x0028_0011;
const ALLOCATED: u32 = 0x0028_0100;
const STORED: u32 = 0x0028_0101;
const HIGH_BIT: u32 = 0x0028_0102;
const SIGNED: u32 = 0x0028_0103;
const CENTER: u32 = 0x0028_1050;
const WIDTH: u32 = 0x0028_1051;
const INTERCEPT: u32 = 0x0028_1052;
const SLOPE: u32 = 0x0028_1053;
const FUNCTION: u32 = 0x0028_1056;
const MODALITY_TABLE: u32 = 0x0028_3000;
const VOI_TABLE: u32 = 0x0028_3010;
const PIXELS: u32 = 0x7fe0_0010;

/// How pixels are stored in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// One sample after the other; each element states its value representation.
    Explicit,
    /// The same without value representations.
    Implicit,
    /// Run lengths.
    Rle,
    /// JPEG, lossy with 8 bits, or lossless.
    Jpeg,
}

/// How the gray levels of an image were meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Photometric {
    /// The lowest value is white.
    Monochrome1,
    /// The lowest value is black.
    Monochrome2,
    /// Three channels: RGB, or whatever a JPEG decoder makes RGB.
    Color,
}

/// How a window's levels rise. Source: PS3.3, C.11.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// LINEAR, the default.
    Linear,
    /// LINEAR_EXACT.
    LinearExact,
    /// SIGMOID.
    Sigmoid,
}

/// What an image needs to be shown.
pub(super) struct Attributes<'a> {
    pub(super) syntax: Syntax,
    pub(super) photometric: Photometric,
    pub(super) rows: u16,
    pub(super) columns: u16,
    /// Samples per pixel: 1, or 3.
    pub(super) samples: u16,
    /// Whether channels follow one another instead of pixels.
    pub(super) is_planar: bool,
    /// Bits of a sample in the file: 8 or 16.
    pub(super) allocated: u16,
    /// Bits of a sample that hold its value.
    pub(super) stored: u16,
    /// Number of the highest of them.
    pub(super) high_bit: u16,
    pub(super) is_signed: bool,
    pub(super) slope: f64,
    pub(super) intercept: f64,
    /// Center and width of the first window.
    pub(super) window: Option<[f64; 2]>,
    pub(super) function: Function,
    /// Whether the file has a table in place of a window.
    pub(super) has_table: bool,
    /// The samples of a plain image; fragments of a compressed one.
    pub(super) pixels: &'a [u8],
}

/// Values by tag.
struct Values<'a>(HashMap<u32, &'a [u8]>);

impl<'a> Attributes<'a> {
    /// Reads the elements behind `DICM`.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut meta = Elements::new(bytes, true);
        let mut syntax = None;
        while meta.peek().is_some_and(|tag| tag >> 16 == 2) {
            let Some(element) = meta.next()? else { break };
            if element.tag == TRANSFER_SYNTAX {
                syntax = Some(self::syntax(&text(element.value))?);
            }
        }
        let syntax = syntax.ok_or("it states no transfer syntax, element (0002,0010)")?;
        let (values, pixels) = values(meta.rest(), syntax)?;
        values.check_frames()?;
        let attributes = Self::of(&values, syntax, pixels)?;
        attributes.check()?;
        Ok(attributes)
    }

    fn of(values: &Values<'a>, syntax: Syntax, pixels: &'a [u8]) -> Result<Self, String> {
        let stored = values.integer(STORED)?;
        let window = match (values.number(CENTER)?, values.number(WIDTH)?) {
            (Some(center), Some(width)) => Some([center, width]),
            _ => None,
        };
        Ok(Self {
            syntax,
            photometric: photometric(&values.text(PHOTOMETRIC), syntax)?,
            rows: values.integer(ROWS)?,
            columns: values.integer(COLUMNS)?,
            samples: values.integer_or(SAMPLES, 1)?,
            is_planar: values.integer_or(PLANAR, 0)? == 1,
            allocated: values.integer(ALLOCATED)?,
            stored,
            high_bit: values.integer_or(HIGH_BIT, stored.wrapping_sub(1))?,
            is_signed: values.integer_or(SIGNED, 0)? == 1,
            slope: values.number(SLOPE)?.unwrap_or(1.0),
            intercept: values.number(INTERCEPT)?.unwrap_or(0.0),
            window,
            function: function(&values.text(FUNCTION))?,
            has_table: values.0.contains_key(&VOI_TABLE),
            pixels,
        })
    }

    fn check(&self) -> Result<(), String> {
        let Self { allocated, stored, high_bit, samples, .. } = *self;
        if self.rows == 0 || self.columns == 0 {
            return Err(format!("it has no pixels ({} x {})", self.columns, self.rows));
        }
        let is_plain = (1..=allocated).contains(&stored) && (stored - 1..allocated).contains(&high_bit);
        if !matches!(allocated, 8 | 16) || !is_plain {
            return Err(format!(
                "its samples have {stored} of {allocated} bits, the highest bit {high_bit}; only 8 and 16 are read"
            ));
        }
        let expected = if self.is_gray() { 1 } else { 3 };
        if samples != expected || (!self.is_gray() && (allocated, stored) != (8, 8)) {
            return Err(format!("it has {samples} samples of {stored} bits per pixel; {SUPPORTED}"));
        }
        if !(self.slope.is_finite() && self.slope != 0.0 && self.intercept.is_finite()) {
            return Err(format!("its rescale slope is {}, its intercept {}", self.slope, self.intercept));
        }
        Ok(())
    }

    /// Whether it has one channel.
    pub(super) fn is_gray(&self) -> bool {
        self.photometric != Photometric::Color
    }

    /// Number of samples of the image.
    pub(super) fn count(&self) -> usize {
        usize::from(self.rows) * usize::from(self.columns) * usize::from(self.samples)
    }
}

impl Values<'_> {
    fn integer(&self, tag: u32) -> Result<u16, String> {
        let bytes = self.0.get(&tag).and_then(|value| value.first_chunk::<2>());
        bytes.map(|bytes| u16::from_le_bytes(*bytes)).ok_or_else(|| format!("it lacks element {}", name(tag)))
    }

    fn integer_or(&self, tag: u32, default: u16) -> Result<u16, String> {
        if self.0.contains_key(&tag) { self.integer(tag) } else { Ok(default) }
    }

    fn text(&self, tag: u32) -> String {
        self.0.get(&tag).map_or_else(String::new, |value| text(value))
    }

    /// The first of one or more decimal numbers.
    fn number(&self, tag: u32) -> Result<Option<f64>, String> {
        let text = self.text(tag);
        let first = text.split('\\').next().unwrap_or_default().trim();
        if first.is_empty() {
            return Ok(None);
        }
        let number = first.parse().ok().filter(|number: &f64| number.is_finite());
        number.map(Some).ok_or_else(|| format!("element {} is no number: {first:?}", name(tag)))
    }

    fn check_frames(&self) -> Result<(), String> {
        if self.0.contains_key(&MODALITY_TABLE) {
            return Err(
                "it has a modality lookup table; only rescale slope and intercept are read".to_owned()
            );
        }
        match self.number(FRAMES)? {
            Some(frames) if frames > 1.0 => {
                Err(format!("it has {frames} frames; write each frame that you need to a file of its own"))
            }
            _ => Ok(()),
        }
    }
}

/// What is read, for messages.
const SUPPORTED: &str = "MONOCHROME1 and MONOCHROME2 of up to 16 bits are read, RGB of 8 bits unless it is JPEG, and \
                         YBR_FULL of 8 bits in JPEG";

/// The values of the image's elements, and its pixels.
fn values(bytes: &[u8], syntax: Syntax) -> Result<(Values<'_>, &[u8]), String> {
    let mut elements = Elements::new(bytes, syntax != Syntax::Implicit);
    let mut values = HashMap::new();
    while let Some(element) = elements.next()? {
        match element.tag {
            PIXELS if element.is_in_items != matches!(syntax, Syntax::Rle | Syntax::Jpeg) => {
                return Err("its transfer syntax does not fit its pixels".to_owned());
            }
            PIXELS => return Ok((Values(values), element.value)),
            tag if tag >> 16 == 0x0028 => {
                values.insert(tag, element.value);
            }
            _ => {}
        }
    }
    Err("it has no pixels, element (7fe0,0010)".to_owned())
}

/// Source: PS3.5, section 10 and annex A.
fn syntax(uid: &str) -> Result<Syntax, String> {
    Ok(match uid {
        "1.2.840.10008.1.2" => Syntax::Implicit,
        "1.2.840.10008.1.2.1" => Syntax::Explicit,
        "1.2.840.10008.1.2.5" => Syntax::Rle,
        "1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.57" | "1.2.840.10008.1.2.4.70" => Syntax::Jpeg,
        _ => {
            let name = match uid {
                "1.2.840.10008.1.2.1.99" => " (deflated)",
                "1.2.840.10008.1.2.2" => " (big endian)",
                "1.2.840.10008.1.2.4.51" => " (JPEG with 12 bits)",
                "1.2.840.10008.1.2.4.80" | "1.2.840.10008.1.2.4.81" => " (JPEG-LS)",
                "1.2.840.10008.1.2.4.90" | "1.2.840.10008.1.2.4.91" => " (JPEG 2000)",
                _ => "",
            };
            return Err(format!(
                "its transfer syntax {uid}{name} is not supported; decompress it, as with `gdcmconv --raw`"
            ));
        }
    })
}

fn photometric(text: &str, syntax: Syntax) -> Result<Photometric, String> {
    Ok(match (text, syntax) {
        ("MONOCHROME1", _) => Photometric::Monochrome1,
        ("MONOCHROME2", _) => Photometric::Monochrome2,
        ("RGB", Syntax::Implicit | Syntax::Explicit | Syntax::Rle) => Photometric::Color,
        ("YBR_FULL" | "YBR_FULL_422", Syntax::Jpeg) => Photometric::Color,
        _ => return Err(format!("its photometric interpretation is {text:?} ({syntax:?}); {SUPPORTED}")),
    })
}

fn function(text: &str) -> Result<Function, String> {
    Ok(match text {
        "" | "LINEAR" => Function::Linear,
        "LINEAR_EXACT" => Function::LinearExact,
        "SIGMOID" => Function::Sigmoid,
        _ => return Err(format!("its window has the unknown function {text:?}")),
    })
}

/// A value without its padding.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_matches([' ', '\0']).to_owned()
}
