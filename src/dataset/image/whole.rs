//! Whether an image file ends as its format says. Decoders fill what a truncated file lacks with gray.

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// What a JPEG file begins with.
pub(super) const JPEG_START: &[u8] = b"\xff\xd8";

/// Marker of the end of a JPEG image.
const EOI: u8 = 0xd9;

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
pub(super) fn markers(bytes: &[u8]) -> impl Iterator<Item = (u8, usize)> {
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

#[cfg(test)]
mod tests {
    use image::{ImageFormat, RgbImage};

    use super::*;

    #[test]
    fn f02_a_file_is_whole_only_with_its_end() {
        let mut png = std::io::Cursor::new(Vec::new());
        RgbImage::from_fn(40, 30, |x, y| image::Rgb([(x * y) as u8, (6 * x) as u8, 7]))
            .write_to(&mut png, ImageFormat::Png)
            .unwrap();
        for bytes in [png.into_inner(), super::super::jpeg::tests::encoded()] {
            assert!(is_whole(&bytes) && is_whole(&[&bytes[..], b"more"].concat()));
            for length in 8..bytes.len() {
                assert!(!is_whole(&bytes[..length]), "cut to {length} of {} bytes", bytes.len());
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
