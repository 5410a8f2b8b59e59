//! Stored values, in the order of pixels.

use super::attributes::{Attributes, Syntax};
use super::elements::fragments;

/// The samples of all pixels, channels last, as stored: bits beyond those of the value are not removed.
///
/// # Errors
/// Pixels are missing or damaged.
pub(super) fn read(attributes: &Attributes<'_>) -> Result<Vec<u16>, String> {
    match attributes.syntax {
        Syntax::Explicit | Syntax::Implicit => plain(attributes),
        Syntax::Rle => rle(attributes),
        Syntax::Jpeg => jpeg(attributes),
    }
}

fn plain(attributes: &Attributes<'_>) -> Result<Vec<u16>, String> {
    let (count, wide) = (attributes.count(), attributes.allocated == 16);
    let bytes = attributes.pixels.get(..count * if wide { 2 } else { 1 }).ok_or_else(|| {
        format!("it is truncated: it has {} bytes of pixels for {count} samples", attributes.pixels.len())
    })?;
    let samples = match wide {
        true => bytes.as_chunks::<2>().0.iter().map(|&pair| u16::from_le_bytes(pair)).collect(),
        false => bytes.iter().copied().map(u16::from).collect(),
    };
    Ok(if attributes.is_planar { interleaved(samples, attributes) } else { samples })
}

/// From one channel after the other to one pixel after the other.
fn interleaved(samples: Vec<u16>, attributes: &Attributes<'_>) -> Vec<u16> {
    let channels = usize::from(attributes.samples);
    let pixels = samples.len() / channels;
    (0..samples.len()).map(|i| samples[i % channels * pixels + i / channels]).collect()
}

/// Segments of one byte of each sample, the highest first. Source: PS3.5, annex G.
fn rle(attributes: &Attributes<'_>) -> Result<Vec<u16>, String> {
    let frame = fragments(attributes.pixels)?.concat();
    let bytes_per_sample = usize::from(attributes.allocated / 8);
    let channels = usize::from(attributes.samples);
    let pixels = attributes.count() / channels;
    let damaged = || "its run lengths are damaged".to_owned();
    let word = |i: usize| {
        let word = frame.get(4 * i..)?.first_chunk()?;
        Some(u32::from_le_bytes(*word) as usize)
    };
    let segments = channels * bytes_per_sample;
    if word(0) != Some(segments) {
        return Err(damaged());
    }
    let mut samples = vec![0_u16; attributes.count()];
    for segment in 0..segments {
        let start = word(segment + 1).ok_or_else(damaged)?;
        let bytes = unpacked(frame.get(start..).ok_or_else(damaged)?, pixels).ok_or_else(damaged)?;
        let (channel, shift) =
            (segment / bytes_per_sample, 8 * (bytes_per_sample - 1 - segment % bytes_per_sample));
        for (sample, byte) in samples[channel..].iter_mut().step_by(channels).zip(bytes) {
            *sample |= u16::from(byte) << shift;
        }
    }
    Ok(samples)
}

/// `length` bytes from runs: n < 128 is followed by n + 1 bytes, n > 128 by one that is repeated 257 − n times.
fn unpacked(mut runs: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let (&count, rest) = runs.split_first()?;
        runs = rest;
        match count {
            0..=127 => {
                let (head, rest) = runs.split_at_checked(usize::from(count) + 1)?;
                bytes.extend_from_slice(head);
                runs = rest;
            }
            128 => {}
            129..=255 => {
                let (&byte, rest) = runs.split_first()?;
                bytes.resize(bytes.len() + 257 - usize::from(count), byte);
                runs = rest;
            }
        }
    }
    bytes.truncate(length);
    Some(bytes)
}

/// Lossy with 8 bits, or lossless with up to 16.
fn jpeg(attributes: &Attributes<'_>) -> Result<Vec<u16>, String> {
    let file = fragments(attributes.pixels)?.concat();
    let mut decoder = jpeg_decoder::Decoder::new(&file[..]);
    let failed = |error: jpeg_decoder::Error| format!("its JPEG is damaged: {error}");
    decoder.read_info().map_err(failed)?;
    let info = decoder.info().ok_or("its JPEG has no header")?;
    let channels = info.pixel_format.pixel_bytes() / if is_wide(info.pixel_format) { 2 } else { 1 };
    let found = (info.width, info.height, channels);
    let expected = (attributes.columns, attributes.rows, usize::from(attributes.samples));
    if found != expected {
        return Err(format!(
            "its JPEG has {} x {} pixels with {} channels, but the file says {} x {} with {}",
            found.0, found.1, found.2, expected.0, expected.1, expected.2
        ));
    }
    decoder.set_max_decoding_buffer_size(attributes.count() * 2);
    let bytes = decoder.decode().map_err(failed)?;
    Ok(match is_wide(info.pixel_format) {
        true => bytes.as_chunks::<2>().0.iter().map(|&pair| u16::from_ne_bytes(pair)).collect(),
        false => bytes.into_iter().map(u16::from).collect(),
    })
}

fn is_wide(format: jpeg_decoder::PixelFormat) -> bool {
    format == jpeg_decoder::PixelFormat::L16
}
