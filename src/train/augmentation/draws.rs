//! Random numbers for transforms.

use std::ops::Range;

use kind::Problems;
use rand::RngCore;

use super::below;

/// Uniform in [0, 1), 53 random bits.
pub(super) fn unit(draws: &mut dyn RngCore) -> f64 {
    (draws.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Uniform in a range.
pub(super) fn between(draws: &mut dyn RngCore, [least, most]: [f64; 2]) -> f64 {
    least + (most - least) * unit(draws)
}

/// With a logarithm that is uniform in the range of logarithms.
pub(super) fn between_logs(draws: &mut dyn RngCore, range: [f64; 2]) -> f64 {
    between(draws, range.map(f64::ln)).exp()
}

/// The value or its negative, equally likely.
pub(super) fn signed(draws: &mut dyn RngCore, value: f64) -> f64 {
    if below(draws.next_u64(), 2) == 1 { -value } else { value }
}

/// Puts items in a random order (Fisher-Yates).
pub(super) fn shuffle<T>(draws: &mut dyn RngCore, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(draws.next_u64(), last + 1));
    }
}

/// Pixels of an interval that takes `share` of an axis and lies at `place`, from 0 to 1, in the free space.
pub(super) fn placed(share: f64, place: f64, size: usize) -> Range<usize> {
    let length = ((share * size as f64).round() as usize).clamp(1, size);
    let places = size - length + 1;
    let start = ((place * places as f64) as usize).min(size - length);
    start..start + length
}

/// Requires `least ≤ from ≤ to ≤ most` of a range `[from, to]`.
pub(super) fn check_range(problems: &mut Problems, key: &str, [from, to]: [f64; 2], [least, most]: [f64; 2]) {
    let right = least <= from && from <= to && to <= most;
    let must = format!("two numbers from {least} to {most}, the smaller one first");
    problems.check(key, format!("[{from}, {to}]"), right, &must);
}
