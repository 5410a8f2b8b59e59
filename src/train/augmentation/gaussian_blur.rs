//! `gaussian_blur`: smooth with a Gaussian of random width; torchvision's `GaussianBlur`.

use identity::Identity;
use kind::{Kind, Problems};
use rand::RngCore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Augmentation, Change, draws};

/// Smooths with a Gaussian of random width.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GaussianBlurSpec {
    /// Side of the kernel in pixels; odd.
    pub kernel_size: usize,
    /// Range of the Gaussian's standard deviation, in pixels.
    pub sigma: [f64; 2],
}

impl Default for GaussianBlurSpec {
    fn default() -> Self {
        Self { kernel_size: 5, sigma: [0.1, 2.0] }
    }
}

impl Identity for GaussianBlurSpec {}

impl Kind for GaussianBlurSpec {
    fn validate(&self, problems: &mut Problems) {
        let right = self.kernel_size % 2 == 1 && self.kernel_size <= 99;
        problems.check("kernel_size", self.kernel_size, right, "an odd number up to 99");
        draws::check_range(problems, "sigma", self.sigma, [1e-3, 1e3]);
    }
}

impl Augmentation for GaussianBlurSpec {
    fn draw(&self, draws: &mut dyn RngCore) -> Box<dyn Change> {
        Box::new(GaussianBlur::new(self.kernel_size, draws::between(draws, self.sigma)))
    }
}

/// A separable kernel.
pub(super) struct GaussianBlur {
    /// Sums to 1.
    kernel: Vec<f32>,
}

impl GaussianBlur {
    /// Weights exp(−x² / 2σ²) at −radius … radius, normalized.
    pub(super) fn new(kernel_size: usize, sigma: f64) -> Self {
        let radius = (kernel_size / 2) as f64;
        let weight = |i: usize| (-0.5 * ((i as f64 - radius) / sigma).powi(2)).exp();
        let weights: Vec<f64> = (0..kernel_size).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        Self { kernel: weights.iter().map(|weight| (weight / sum) as f32).collect() }
    }

    /// Smooths along one axis; `stride` is the distance of neighbors in elements. Beyond the border, the image is
    /// mirrored without repeating the border.
    fn smooth(&self, levels: &[f32], size: usize, stride: usize) -> Vec<f32> {
        let radius = self.kernel.len() / 2;
        let smoothed = |(i, level): (usize, &f32)| {
            if size == 1 {
                return *level;
            }
            let at = i / stride % size;
            let first = i - at * stride;
            let tap =
                |(k, weight): (usize, &f32)| weight * levels[first + mirrored(at + k, radius, size) * stride];
            self.kernel.iter().enumerate().map(tap).sum()
        };
        levels.iter().enumerate().map(smoothed).collect()
    }
}

/// The position `at − radius` on an axis of at least two pixels, mirrored at both ends.
fn mirrored(at: usize, radius: usize, size: usize) -> usize {
    let period = 2 * (size - 1);
    let position = (at + period * radius - radius) % period;
    position.min(period - position)
}

impl Change for GaussianBlur {
    fn apply(&self, image: &[u8], size: usize, out: &mut [u8]) {
        let levels: Vec<f32> = image.iter().map(|&level| f32::from(level)).collect();
        let smoothed = self.smooth(&self.smooth(&levels, size, 3), size, 3 * size);
        for (out, level) in out.iter_mut().zip(smoothed) {
            *out = level.round_ties_even() as u8;
        }
    }
}
