//! A copy of a JPEG file without what libjpeg-turbo warns of though all pixels are right.
//!
//! libjpeg-turbo tells only the first warning, and turbojpeg refuses a header after any. So a harmless warning would
//! cost the image, or hide that pixels are missing. In the copy, every warning but the last of these means damage:
//!
//! | warning | in the copy |
//! |---|---|
//! | extraneous bytes before a marker | nothing is between segments |
//! | unknown JFIF revision | the revision is 1 |
//! | unknown Adobe color transform code | the code of the transform that libjpeg-turbo assumes |
//! | bad ICC marker | the header has no comments and no application data but those of JFIF and Adobe |
//! | invalid SOS parameters for sequential JPEG | the parameters of sequential JPEG |
//! | extraneous bytes before marker 0xd9 | they stay until [`drop_last`]: only a decoder knows where a scan's data end |

use super::frame::{Frame, START_OF_SCAN};
use crate::image::whole::markers;

const END_OF_IMAGE: u8 = 0xd9;
/// Application data of JFIF and of Adobe, which say how colors are coded.
const APP0: u8 = 0xe0;
const APP14: u8 = 0xee;

/// The copy. It ends with the end of the image, if there is one.
///
/// # Errors
/// A message: out of memory.
pub(super) fn plain(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    let room = plain.try_reserve_exact(bytes.len());
    room.map_err(|_| format!("out of memory: it takes {} bytes", bytes.len()))?;
    let frame = Frame::of(bytes);
    let (mut end, mut in_header, mut in_data) = (0, true, false);
    for (marker, at) in markers(bytes) {
        if in_data {
            plain.extend_from_slice(without_fill(&bytes[end..at]));
        }
        let segment = segment(bytes, marker, at);
        end = at + 2 + segment.len();
        in_header &= marker != START_OF_SCAN;
        // Markers without a segment restart the data.
        in_data = marker == START_OF_SCAN || in_data && segment.is_empty();
        if !(in_header && is_ignored(marker)) {
            plain.extend_from_slice(&[0xff, marker]);
            plain.extend_from_slice(segment);
            let copied = plain.len() - segment.len();
            correct(&frame, marker, &mut plain[copied..]);
        }
        if marker == END_OF_IMAGE {
            break;
        }
    }
    Ok(plain)
}

/// The number of bytes that libjpeg-turbo skipped before the end of the image, if this is what it warns of.
pub(super) fn skipped(warning: &str) -> Option<usize> {
    let count = warning.strip_prefix("Corrupt JPEG data: ")?;
    count.strip_suffix(" extraneous bytes before marker 0xd9")?.parse().ok()
}

/// Drops so many bytes before the end of the image.
pub(super) fn drop_last(plain: &mut Vec<u8>, count: usize) {
    let end = plain.len().saturating_sub(2);
    plain.drain(end.saturating_sub(count)..end);
}

/// Data without the FF that may fill the space before a marker.
fn without_fill(data: &[u8]) -> &[u8] {
    let length = data.iter().rposition(|&byte| byte != 0xff).map_or(0, |last| last + 1);
    &data[..length]
}

/// Length and content of the segment of the marker at `at`; empty for a marker without one.
fn segment(bytes: &[u8], marker: u8, at: usize) -> &[u8] {
    let rest = &bytes[at + 2..];
    let length = match (marker, rest.first_chunk()) {
        (0x01 | 0xd0..=0xd9, _) => 0,
        // The length counts itself.
        (_, Some(&length)) => usize::from(u16::from_be_bytes(length)).max(2),
        (_, None) => rest.len(),
    };
    &rest[..length.min(rest.len())]
}

/// Whether pixels do not depend on a segment of the header: a comment, or application data but JFIF's and Adobe's.
fn is_ignored(marker: u8) -> bool {
    matches!(marker, 0xe0..=0xef | 0xfe) && !matches!(marker, APP0 | APP14)
}

/// Corrects what libjpeg-turbo warns of in a segment, which begins with its length. Source: its jdmarker.c, jdapimin.c
/// and jdhuff.c.
fn correct(frame: &Frame<'_>, marker: u8, segment: &mut [u8]) {
    match (marker, segment) {
        (APP0, [_, _, b'J', b'F', b'I', b'F', 0, major, _, _, _, _, _, _, _, _, ..]) => *major = 1,
        (APP14, [_, _, b'A', b'd', b'o', b'b', b'e', _, _, _, _, _, _, code, ..]) => {
            *code = transform(frame.components.len(), *code);
        }
        (START_OF_SCAN, [_, _, _, .., first, last, approximation]) if frame.is_sequential() => {
            [*first, *last, *approximation] = [0, 63, 0];
        }
        _ => {}
    }
}

/// Adobe's code of a color transform: that of YCC or YCCK unless it is known.
fn transform(components: usize, code: u8) -> u8 {
    match (components, code) {
        (3, 2..) => 1,
        (4, 1 | 3..) => 2,
        _ => code,
    }
}
