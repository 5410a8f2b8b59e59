//! From an image of any shape to a square: timm's `crop_mode`, `crop_pct` and `interpolation`.
//!
//! The image is resized to `full` pixels and cropped or padded to `size`. Only what is kept is computed.

use std::ops::Range;

use super::super::pixels::{CropMode, PixelSpec};
use super::resample::{Resampled, resample};

/// An RGB image, `[height, width, 3]`.
#[derive(Clone, Copy)]
pub(super) struct Picture<'a> {
    pub(super) rgb: &'a [u8],
    pub(super) width: usize,
    pub(super) height: usize,
}

/// One axis of the image and of the square.
struct Axis {
    /// What is kept of the resized image.
    resampled: Resampled,
    /// Where in the square it lies; the rest is black.
    target: Range<usize>,
}

impl Axis {
    /// An axis of `source` pixels that becomes `full` pixels, then `size`. Source: torchvision's `center_crop`, timm's
    /// `center_crop_or_pad`.
    fn new(source: usize, full: usize, size: usize) -> Self {
        let kept = full.min(size);
        let start = ((full - kept) as f64 / 2.0).round_ties_even() as usize;
        let black = (size - kept) / 2;
        let resampled = Resampled { source, full, kept: start..start + kept };
        Self { resampled, target: black..black + kept }
    }
}

/// Writes an image as a square, `[size, size, 3]`.
pub(super) fn fit(picture: Picture<'_>, spec: &PixelSpec, size: usize, out: &mut [u8]) {
    let (width, height) = full(picture, spec, size);
    let across = Axis::new(picture.width, width, size);
    let down = Axis::new(picture.height, height, size);
    let (columns, rows) = (across.target.len(), down.target.len());
    let mut part = vec![0; columns * rows * 3];
    resample(picture, spec.interpolation, &across.resampled, &down.resampled, &mut part);
    out.fill(0);
    let lines = out.chunks_exact_mut(size * 3).skip(down.target.start);
    for (line, part) in lines.zip(part.chunks_exact(columns * 3)) {
        line[across.target.start * 3..across.target.end * 3].copy_from_slice(part);
    }
}

/// Width and height of the whole resized image. Source: torchvision's `Resize`, timm's `ResizeKeepRatio`.
fn full(picture: Picture<'_>, spec: &PixelSpec, size: usize) -> (usize, usize) {
    let Picture { width, height, .. } = picture;
    let side = (size as f64 / spec.crop_pct).floor() as usize;
    let ratio = width.max(height) as f64 / side as f64;
    let kept = |length: usize| ((length as f64 / ratio).round_ties_even() as usize).max(1);
    match spec.crop_mode {
        CropMode::Squash => (side, side),
        CropMode::Center if width <= height => (side, side * height / width),
        CropMode::Center => (side * width / height, side),
        CropMode::Border => (kept(width), kept(height)),
    }
}
