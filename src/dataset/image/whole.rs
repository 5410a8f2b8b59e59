//! Whether an image file ends as its format says. Decoders fill what a truncated file lacks with gray.

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG_START: &[u8] = b"\xff\xd8";

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

/// Whether the segments reach the marker EOI (FF D9). Source: ITU-T T.81, sections B.1.1 and B.2.
fn jpeg_ends(mut segments: &[u8]) -> bool {
    while let Some((marker, rest)) = next_marker(segments) {
        let length = match marker {
            0xd9 => return true,
            // Markers without a segment: TEM, RST and SOI.
            0x01 | 0xd0..=0xd8 => 0,
            _ => rest.first_chunk().map_or(usize::MAX, |&length| usize::from(u16::from_be_bytes(length))),
        };
        let Some(next) = rest.get(length..) else { return false };
        segments = next;
    }
    false
}

/// The next marker and what follows it. In compressed data, FF 00 stands for FF; a marker may follow several FF.
fn next_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let pairs = bytes.windows(2);
    let at = pairs.into_iter().position(|pair| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xff))?;
    Some((bytes[at + 1], &bytes[at + 2..]))
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
    fn an_end_inside_a_segment_is_not_the_end_of_the_file() {
        let thumbnail = b"\xff\xd8\xff\xe1\x00\x06\xff\xd9\x00\x00\xff\xda\x00\x02\x12\xff\x00\xff\xd0\x34";
        assert!(!is_whole(thumbnail));
        assert!(is_whole(&[&thumbnail[..], b"\xff\xff\xd9"].concat()));
    }
}
