//! Whether an image file ends as its format says. Decoders fill what a truncated file lacks with gray.

use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::options::DecoderOptions;

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG_START: &[u8] = b"\xff\xd8";

/// Marker of the end of a JPEG image.
const EOI: u8 = 0xd9;

/// What decoders read ahead of the pixels that they decode.
const SLACK: [u8; 8] = [0; 8];

/// Whether a JPEG or PNG file reaches its end; true for other formats.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    if let Some(chunks) = bytes.strip_prefix(PNG_SIGNATURE) {
        return png_ends(chunks);
    }
    bytes.strip_prefix(JPEG_START).is_none_or(jpeg_ends)
}

/// Whether the chunks (length, type, data, checksum) reach IEND. Source: PNG, third edition, section 5.3.
fn png_ends(mut chunks: &[u8]) -> bool {
    while let Some((head, rest)) = chunks.split_first_chunk::<8>() {
        let [length, kind] = [&head[..4], &head[4..]];
        let length = length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
        let Some(next) = rest.get(length + 4..) else { return false };
        if kind == b"IEND" {
            return true;
        }
        chunks = next;
    }
    false
}

/// Whether the segments reach the marker EOI.
fn jpeg_ends(segments: &[u8]) -> bool {
    markers(segments).any(|(marker, _)| marker == EOI)
}

/// The markers of a JPEG file and where they are. In compressed data, FF 00 stands for FF; a marker may follow several
/// FF. Source: ITU-T T.81, sections B.1.1 and B.2.
fn markers(bytes: &[u8]) -> impl Iterator<Item = (u8, usize)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let pairs = bytes.get(next..)?.windows(2);
        let at =
            next + pairs.into_iter().position(|pair| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xff))?;
        let marker = bytes[at + 1];
        let length = match (marker, bytes[at + 2..].first_chunk()) {
            // Markers without a segment: TEM, RST, SOI and EOI.
            (0x01 | 0xd0..=0xd9, _) => 0,
            (_, Some(&length)) => usize::from(u16::from_be_bytes(length)),
            (_, None) => bytes.len(),
        };
        next = at + 2 + length;
        Some((marker, at))
    })
}

/// Whether the only scan of a baseline JPEG file ends before its image does: something closed a file that was cut. Other
/// files are not judged; later scans of a progressive file only refine the first.
///
/// At EOI, a decoder goes on with zeros. Without it, a strict one runs out of data, unless only the last few blocks are
/// missing.
pub(super) fn is_cut(bytes: &[u8]) -> bool {
    let Some(end) = end_of_only_scan(bytes) else { return false };
    !decodes(&[&bytes[..end], &SLACK].concat()) && decodes(bytes)
}

fn end_of_only_scan(bytes: &[u8]) -> Option<usize> {
    let (mut is_baseline, mut scans) = (false, 0);
    for (marker, at) in markers(bytes.starts_with(JPEG_START).then_some(bytes)?) {
        match marker {
            0xc0 | 0xc1 => is_baseline = true,
            0xda => scans += 1,
            EOI => return (is_baseline && scans == 1).then_some(at),
            _ => {}
        }
    }
    None
}

fn decodes(bytes: &[u8]) -> bool {
    let options = DecoderOptions::default().set_strict_mode(true);
    let options = options.set_max_width(usize::MAX).set_max_height(usize::MAX);
    zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options).decode().is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{ImageFormat, RgbImage};

    use super::*;

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let picture = RgbImage::from_fn(40, 30, |x, y| image::Rgb([(x * y) as u8, (6 * x) as u8, 7]));
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn f02_a_file_is_whole_only_with_its_end() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            let bytes = encoded(format);
            assert!(is_whole(&bytes) && is_whole(&[&bytes[..], b"more"].concat()));
            for length in 8..bytes.len() {
                assert!(!is_whole(&bytes[..length]), "{format:?} cut to {length} bytes");
            }
        }
    }

    #[test]
    fn a_file_that_was_cut_and_closed_is_cut() {
        let bytes = encoded(ImageFormat::Jpeg);
        let scan = markers(&bytes).find(|(marker, _)| *marker == 0xda).unwrap().1;
        assert!(!is_cut(&bytes) && !is_cut(&[&bytes[..], b"more\xff\xd9"].concat()));
        assert!(!is_cut(&encoded(ImageFormat::Png)) && !is_cut(b"") && !is_cut(b"\xff\xd8\xff\xda"));
        for length in (scan + 40..bytes.len() - 100).filter(|&length| bytes[length - 1] != 0xff) {
            let closed = [&bytes[..length], b"\xff\xd9"].concat();
            assert!(is_whole(&closed) && is_cut(&closed), "cut to {length} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn an_end_inside_a_segment_is_not_the_end_of_the_file() {
        let thumbnail = b"\xff\xd8\xff\xe1\x00\x06\xff\xd9\x00\x00\xff\xda\x00\x02\x12\xff\x00\xff\xd0\x34";
        assert!(!is_whole(thumbnail));
        assert!(is_whole(&[&thumbnail[..], b"\xff\xff\xd9"].concat()));
    }
}
