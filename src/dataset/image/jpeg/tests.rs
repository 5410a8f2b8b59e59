use turbojpeg::{Compressor, Subsamp};

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
    encoded_by(&mut Compressor::new().unwrap())
}

fn progressive() -> Vec<u8> {
    let mut compressor = Compressor::new().unwrap();
    compressor.set_progressive(true).unwrap();
    encoded_by(&mut compressor)
}

fn encoded_by(compressor: &mut Compressor) -> Vec<u8> {
    let pixels: Vec<u8> = (0..40 * 30).flat_map(|at| [(at * at / 40) as u8, (6 * at) as u8, 7]).collect();
    let image = Image { pixels: &pixels[..], width: 40, pitch: 120, height: 30, format: PixelFormat::RGB };
    compressor.set_quality(90).unwrap();
    compressor.set_subsamp(Subsamp::Sub2x2).unwrap();
    compressor.compress_to_vec(image).unwrap()
}

fn rgb(bytes: &[u8]) -> Result<RgbImage, String> {
    Jpeg::read(bytes).and_then(Jpeg::rgb)
}

/// Where each of these markers is.
fn positions(bytes: &[u8], wanted: u8) -> Vec<usize> {
    markers(bytes).filter(|(marker, _)| *marker == wanted).map(|(_, at)| at).collect()
}

fn with(bytes: &[u8], at: usize, more: &[u8]) -> Vec<u8> {
    [&bytes[..at], more, &bytes[at..]].concat()
}

/// The beginning of a file, closed.
fn closed(bytes: &[u8], length: usize) -> Vec<u8> {
    [&bytes[..length], b"\xff\xd9"].concat()
}

/// [`encoded()`] with what libjpeg-turbo warns of though the pixels are the same.
fn odd() -> Vec<(&'static str, Vec<u8>)> {
    let bytes = encoded();
    let tables = positions(&bytes, 0xdb)[0];
    let scan = positions(&bytes, START_OF_SCAN)[0];
    let changed =
        |range: std::ops::Range<usize>, to: &[u8]| [&bytes[..range.start], to, &bytes[range.end..]].concat();
    let adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x07";
    vec![
        ("bytes before a table", with(&bytes, tables, b"\0\xff\0\x07\xff\xff\0")),
        ("bytes after a comment", with(&bytes, tables, b"\xff\xfe\0\x04ab\0")),
        ("JFIF of the future", changed(11..12, b"\x02")),
        ("a color transform of the future", changed(2..tables, adobe)),
        ("half a color profile", with(&bytes, tables, b"\xff\xe2\0\x14ICC_PROFILE\0\x01\x02half")),
        ("parameters of zeros", changed(scan + 11..scan + 14, &[0; 3])),
        ("all at once", {
            let zeros = changed(scan + 11..scan + 14, &[0; 3]);
            with(&with(&zeros, tables, b"\0\0\0"), 2, b"\xff\xe2\0\x14ICC_PROFILE\0\x09\x02half")
        }),
    ]
}

#[test]
fn what_is_odd_but_harmless_is_read() {
    let plain = rgb(&encoded());
    assert!(plain.is_ok());
    for (what, bytes) in odd() {
        assert_eq!(rgb(&bytes), plain, "{what}");
    }
}

#[test]
fn f02_a_file_that_was_cut_and_closed_is_an_error() {
    for (what, bytes) in odd().into_iter().chain([("nothing odd", encoded())]) {
        let scan = positions(&bytes, START_OF_SCAN)[0];
        for length in scan + 14..bytes.len() - 2 {
            let message = rgb(&closed(&bytes, length)).expect_err(&format!("{what}, cut to {length}"));
            assert!(
                message.starts_with("pixels are damaged or missing"),
                "{what}, cut to {length}: {message}"
            );
        }
    }
}

#[test]
fn f02_a_progressive_file_that_was_cut_and_closed_is_an_error() {
    let bytes = progressive();
    let scans = positions(&bytes, START_OF_SCAN);
    assert!(scans.len() > 5);
    for length in scans[0]..bytes.len() - 2 {
        assert!(
            rgb(&closed(&bytes, length)).is_err(),
            "cut to {length} of {}, scans at {scans:?}",
            bytes.len()
        );
    }
}

#[test]
fn f02_a_file_with_a_scan_for_each_channel_needs_all_of_them() {
    let bytes = channels();
    assert!(rgb(&bytes).is_ok());
    for scan in &positions(&bytes, START_OF_SCAN)[1..] {
        let message = rgb(&closed(&bytes, *scan)).unwrap_err();
        assert!(message.contains("the file ends before its last scan"), "{message}");
    }
}

/// A sequential image of 8 x 8 pixels with three channels, each in a scan of its own.
fn channels() -> Vec<u8> {
    let gray = tiled(1, 1);
    let frame = positions(&gray, 0xc0)[0];
    let scan = positions(&gray, START_OF_SCAN)[0];
    let mut bytes =
        [&gray[..frame], b"\xff\xc0\0\x11\x08\0\x08\0\x08\x03\x01\x11\0\x02\x11\0\x03\x11\0"].concat();
    bytes.extend(&gray[frame + 13..scan]);
    for channel in 1..=3 {
        bytes.extend(&gray[scan..scan + 5]);
        bytes.push(channel);
        bytes.extend(&gray[scan + 6..gray.len() - 2]);
    }
    closed(&bytes, bytes.len())
}

#[test]
fn bytes_between_the_segments_of_a_progressive_file_are_harmless() {
    let bytes = progressive();
    let plain = rgb(&bytes).unwrap();
    for at in positions(&bytes, START_OF_SCAN) {
        assert_eq!(rgb(&with(&bytes, at, b"\0\0\0\xff")).as_ref(), Ok(&plain));
    }
}

#[test]
fn bytes_after_the_last_scan_are_harmless() {
    for bytes in [encoded(), progressive(), tiled(4, 4)] {
        for stray in [&b"\0\0\0"[..], &[7; 40], b"\xff\xff\xff", b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff"] {
            let padded = with(&bytes, bytes.len() - 2, stray);
            assert_eq!(rgb(&padded), rgb(&bytes), "{stray:?}");
        }
    }
}

/// An image of gray tiles of 8 x 8 pixels in a row, with a restart marker between two of them. Some may be missing.
fn tiled(tiles: u8, present: u8) -> Vec<u8> {
    let tile = |tile: u8| {
        let pixels: Vec<u8> = (0..64).map(|at| at * (tile + 1)).collect();
        let image = Image { pixels: &pixels[..], width: 8, pitch: 8, height: 8, format: PixelFormat::GRAY };
        turbojpeg::compress(image, 90, Subsamp::Gray).unwrap().to_vec()
    };
    let first = tile(0);
    let scan = positions(&first, START_OF_SCAN)[0];
    let data = |bytes: &[u8]| bytes[scan + 10..bytes.len() - 2].to_vec();
    let mut bytes = with(&first[..scan + 10], scan, b"\xff\xdd\0\x04\0\x01");
    let frame = positions(&bytes, 0xc0)[0];
    bytes[frame + 8] = 8 * tiles;
    bytes.extend(data(&first));
    for next in 1..present {
        bytes.extend([0xff, 0xd0 + (next - 1) % 8]);
        bytes.extend(data(&tile(next)));
    }
    closed(&bytes, bytes.len())
}

#[test]
fn f02_bytes_before_the_end_do_not_hide_missing_tiles() {
    assert!(rgb(&tiled(4, 4)).is_ok());
    let short = tiled(4, 3);
    let padded = with(&short, short.len() - 2, &[0; 40]);
    for bytes in [short, padded] {
        let message = rgb(&bytes).unwrap_err();
        assert!(message.starts_with("pixels are damaged or missing"), "{message}");
    }
}

#[test]
fn a_file_of_an_unsupported_kind_is_not_called_damaged() {
    let mut bytes = encoded();
    let frame = positions(&bytes, 0xc0)[0];
    bytes[frame + 4] = 12;
    assert_eq!(rgb(&bytes), Err("Unsupported JPEG data precision 12".into()));
}

#[test]
fn f22_a_file_of_very_many_scans_is_refused() {
    let bytes = progressive();
    let last = *positions(&bytes, START_OF_SCAN).last().unwrap();
    let scan = &bytes[last..bytes.len() - 2];
    let many = with(&bytes, last, &scan.repeat(600));
    assert_eq!(rgb(&many), Err("Progressive JPEG image has more than 500 scans".into()));
}

#[test]
fn the_orientation_is_that_of_the_file() {
    let exif = b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let bytes = with(&encoded(), 2, exif);
    assert_eq!(Jpeg::read(&bytes).unwrap().orientation(), Orientation::Rotate90);
    assert_eq!(rgb(&bytes), rgb(&encoded()));
}
