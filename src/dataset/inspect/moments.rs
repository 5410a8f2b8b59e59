//! Mean and standard deviation per channel, as the key `normalize` of a backbone takes them.

use rayon::prelude::*;
use serde::Serialize;

/// Pixels that a thread counts at once.
const PIXELS: usize = 1 << 16;

/// Mean and (population) standard deviation of red, green and blue, for pixels scaled to 0..1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Moments {
    /// Mean.
    pub mean: [f64; 3],
    /// Standard deviation: of all pixels of all images around the common mean.
    pub std: [f64; 3],
}

/// How often each level occurs in each channel.
type Histogram = [[u64; 256]; 3];

impl Moments {
    /// Of RGB pixels; `None` without any.
    pub(super) fn of(pixels: &[u8]) -> Option<Self> {
        let counted = pixels.par_chunks(3 * PIXELS).fold(empty, counted);
        let histogram = counted.reduce(empty, added);
        let moments = histogram.map(|levels| channel(&levels));
        (!pixels.is_empty())
            .then(|| Self { mean: moments.map(|(mean, _)| mean), std: moments.map(|(_, std)| std) })
    }
}

fn empty() -> Box<Histogram> {
    Box::new([[0; 256]; 3])
}

fn counted(mut histogram: Box<Histogram>, pixels: &[u8]) -> Box<Histogram> {
    for pixel in pixels.chunks_exact(3) {
        for (levels, level) in histogram.iter_mut().zip(pixel) {
            levels[usize::from(*level)] += 1;
        }
    }
    histogram
}

fn added(mut a: Box<Histogram>, b: Box<Histogram>) -> Box<Histogram> {
    a.iter_mut().flatten().zip(b.iter().flatten()).for_each(|(a, b)| *a += b);
    a
}

/// Mean and standard deviation. Sums are exact, so the number of threads has no effect.
fn channel(levels: &[u64; 256]) -> (f64, f64) {
    let sum = |power: u32| -> u128 {
        (0u128..).zip(levels).map(|(level, &count)| level.pow(power) * u128::from(count)).sum()
    };
    let (n, first, second) = (sum(0), sum(1), sum(2));
    let variance = (n * second - first * first) as f64 / (n as f64 * n as f64);
    (first as f64 / n as f64 / 255.0, variance.sqrt() / 255.0)
}
