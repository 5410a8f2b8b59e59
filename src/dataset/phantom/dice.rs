//! Random numbers for drawing.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::canvas::Color;
use super::shape::Point;

/// The random numbers of one image.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    pub(super) fn new(rng: ChaCha8Rng) -> Self {
        Self(rng)
    }

    /// Uniform in [`low`, `high`].
    pub(super) fn uniform(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.0.random::<f32>()
    }

    /// Uniform in [-`reach`, `reach`].
    pub(super) fn within(&mut self, reach: f32) -> f32 {
        self.uniform(-reach, reach)
    }

    /// A uniform integer from `low` to `high`, both included.
    pub(super) fn count(&mut self, low: usize, high: usize) -> usize {
        low + (self.0.random::<u32>() as usize) % (high - low + 1)
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.0.random::<f32>() < probability
    }

    /// -1 or 1.
    pub(super) fn sign(&mut self) -> f32 {
        if self.chance(0.5) { 1.0 } else { -1.0 }
    }

    /// A random unit vector.
    pub(super) fn direction(&mut self) -> Point {
        let (y, x) = self.within(std::f32::consts::PI).sin_cos();
        [x, y]
    }

    /// A uniform point in the disc of this radius.
    pub(super) fn point(&mut self, center: Point, radius: f32) -> Point {
        let ([x, y], distance) = (self.direction(), radius * self.uniform(0.0, 1.0).sqrt());
        [center[0] + distance * x, center[1] + distance * y]
    }

    /// A color similar to another: brighter or darker, with a slightly different hue.
    pub(super) fn near(&mut self, color: Color, reach: f32) -> Color {
        let light = self.within(reach);
        color.map(|level| level + light + self.within(reach * 0.6))
    }

    /// Eight random bytes.
    pub(super) fn bytes(&mut self) -> [u8; 8] {
        self.0.random::<u64>().to_le_bytes()
    }
}
