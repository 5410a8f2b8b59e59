//! Frame and scans of a JPEG file. Source: ITU-T T.81, sections B.2.2 and B.2.3.

use crate::image::whole::markers;

/// Marker of the start of a scan, behind which its data are.
pub(super) const START_OF_SCAN: u8 = 0xda;

/// How an image is coded.
#[derive(Default)]
pub(super) struct Frame<'a> {
    marker: u8,
    /// Each with its identifier, sampling factors, and quantization table.
    pub(super) components: &'a [[u8; 3]],
}

impl<'a> Frame<'a> {
    /// The first frame; without components if there is none.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        let is_frame = |marker| matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        let Some((marker, at)) = markers(bytes).find(|&(marker, _)| is_frame(marker)) else {
            return Self::default();
        };
        let count = bytes.get(at + 9).map_or(0, |&count| usize::from(count));
        let components = bytes.get(at + 10..at + 10 + 3 * count).unwrap_or_default().as_chunks().0;
        Self { marker, components }
    }

    /// Baseline or extended, without refinement.
    pub(super) fn is_sequential(&self) -> bool {
        matches!(self.marker, 0xc0 | 0xc1 | 0xc9)
    }

    pub(super) fn is_progressive(&self) -> bool {
        matches!(self.marker, 0xc2 | 0xca)
    }
}

/// What a scan of a progressive file holds.
pub(super) struct Scan<'a> {
    /// Identifiers, each with its tables.
    pub(super) components: &'a [[u8; 2]],
    /// The first and last coefficient, in zigzag order.
    pub(super) coefficients: [u8; 2],
    /// Bits of each coefficient that are left to later scans.
    pub(super) bits: u8,
}

impl<'a> Scan<'a> {
    /// The scan whose marker `bytes` begin with.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let count = 2 * usize::from(*bytes.get(4)?);
        let (components, rest) = bytes.get(5..)?.split_at_checked(count)?;
        let &[first, last, approximation] = rest.first_chunk()?;
        Some(Self {
            components: components.as_chunks().0,
            coefficients: [first, last],
            bits: approximation & 0x0f,
        })
    }
}
