//! Resizing with Pillow's arithmetic, to the level: weights in fixed point, one axis after the other, each rounded to 8
//! bits.
//!
//! Source: Pillow's `src/libImaging/Resample.c`.

use std::ops::Range;

use super::super::pixels::Interpolation;
use super::fit::Picture;

/// Bits after the point of a weight.
const PRECISION: u32 = 32 - 8 - 2;

/// One half, so that sums are rounded.
const HALF: i32 = 1 << (PRECISION - 1);

/// One axis of an image that is resized: `source` pixels become `full`, of which `kept` are computed.
pub(super) struct Resampled {
    /// Pixels of the source.
    pub(super) source: usize,
    /// Pixels of the whole resized image.
    pub(super) full: usize,
    /// Those that are computed.
    pub(super) kept: Range<usize>,
}

/// What a pixel is made of: consecutive pixels of the source, each times its weight.
struct Taps {
    start: usize,
    weights: Vec<i32>,
}

/// Writes the kept part of the resized image as RGB, `[rows, columns, 3]`, antialiased when shrinking.
pub(super) fn resample(
    picture: Picture<'_>,
    filter: Interpolation,
    across: &Resampled,
    down: &Resampled,
    out: &mut [u8],
) {
    let (columns, rows) = (across.taps(filter), down.taps(filter));
    if is_lower_first(across, down) {
        let mut low = vec![0; picture.width * rows.len() * 3];
        blend_lines(picture.rgb, picture.width, &rows, &mut low);
        return blend_columns(&low, picture.width, &columns, out);
    }
    let used = used(&rows);
    let mut narrow = vec![0; used.len() * columns.len() * 3];
    let lines = &picture.rgb[used.start * picture.width * 3..used.end * picture.width * 3];
    blend_columns(lines, picture.width, &columns, &mut narrow);
    let rows: Vec<Taps> = rows.into_iter().map(|row| Taps { start: row.start - used.start, ..row }).collect();
    blend_lines(&narrow, columns.len(), &rows, out);
}

/// Whether the height is reduced before the width: since Pillow 13, if that is much more.
fn is_lower_first(across: &Resampled, down: &Resampled) -> bool {
    let by = |axis: &Resampled| axis.source as f64 - axis.full as f64;
    by(down) > 0.0 && by(down) > 2.0 * by(across)
}

impl Resampled {
    /// Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc`.
    fn taps(&self, filter: Interpolation) -> Vec<Taps> {
        if self.source == self.full {
            return self.kept.clone().map(|start| Taps { start, weights: vec![1 << PRECISION] }).collect();
        }
        let scale = self.source as f64 / self.full as f64;
        let stretch = scale.max(1.0);
        let support = radius(filter) * stretch;
        self.kept.clone().map(|i| self.taps_at((i as f64 + 0.5) * scale, support, stretch, filter)).collect()
    }

    fn taps_at(&self, center: f64, support: f64, stretch: f64, filter: Interpolation) -> Taps {
        // Truncated as in C: the left end may be negative.
        let start = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(self.source);
        let weight = |i: usize| at((i as f64 - center + 0.5) * (1.0 / stretch), filter);
        let weights: Vec<f64> = (start..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let scaled = |weight: &f64| fixed(if sum == 0.0 { *weight } else { weight / sum });
        Taps { start, weights: weights.iter().map(scaled).collect() }
    }
}

/// Rounded half away from zero.
fn fixed(weight: f64) -> i32 {
    (weight * f64::from(1 << PRECISION) + 0.5f64.copysign(weight)) as i32
}

fn radius(filter: Interpolation) -> f64 {
    match filter {
        Interpolation::Bilinear => 1.0,
        Interpolation::Bicubic => 2.0,
    }
}

/// The filter at a distance. Bicubic: Keys' kernel, a = −0.5.
fn at(distance: f64, filter: Interpolation) -> f64 {
    const A: f64 = -0.5;
    let x = distance.abs();
    match filter {
        Interpolation::Bilinear if x < 1.0 => 1.0 - x,
        Interpolation::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        Interpolation::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        _ => 0.0,
    }
}

/// The rows of the source that any row needs.
fn used(rows: &[Taps]) -> Range<usize> {
    let start = rows.iter().map(|row| row.start).min().unwrap_or(0);
    start..rows.iter().map(|row| row.start + row.weights.len()).max().unwrap_or(start)
}

/// The columns of each line of `width` RGB pixels.
fn blend_columns(lines: &[u8], width: usize, columns: &[Taps], out: &mut [u8]) {
    for (line, out) in lines.chunks_exact(width * 3).zip(out.chunks_exact_mut(columns.len() * 3)) {
        for (column, out) in columns.iter().zip(out.chunks_exact_mut(3)) {
            out.copy_from_slice(&blend(&line[column.start * 3..], &column.weights));
        }
    }
}

/// The weighted sum of consecutive RGB pixels.
fn blend(pixels: &[u8], weights: &[i32]) -> [u8; 3] {
    let mut sums = [HALF; 3];
    for (pixel, weight) in pixels.chunks_exact(3).zip(weights) {
        for (sum, level) in sums.iter_mut().zip(pixel) {
            *sum += i32::from(*level) * weight;
        }
    }
    sums.map(level)
}

/// The rows of an image `width` pixels wide.
fn blend_lines(lines: &[u8], width: usize, rows: &[Taps], out: &mut [u8]) {
    let mut sums = vec![HALF; width * 3];
    for (row, out) in rows.iter().zip(out.chunks_exact_mut(width * 3)) {
        sums.fill(HALF);
        for (line, weight) in lines[row.start * width * 3..].chunks_exact(width * 3).zip(&row.weights) {
            for (sum, level) in sums.iter_mut().zip(line) {
                *sum += i32::from(*level) * weight;
            }
        }
        out.iter_mut().zip(&sums).for_each(|(out, sum)| *out = level(*sum));
    }
}

fn level(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}
