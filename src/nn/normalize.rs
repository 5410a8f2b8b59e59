//! Normalization of input pixels.

use kind::Problems;
use serde::{Deserialize, Serialize};

/// Normalization of input pixels: p in 0..=255 becomes (p / 255 − mean) / std, per channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-presets" = {"imagenet": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}))]
pub struct Normalize {
    /// Mean of red, green and blue, for pixels scaled to 0..1.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue, for pixels scaled to 0..1.
    pub std: [f32; 3],
}

impl Normalize {
    /// The normalized value of each byte, per channel.
    pub fn table(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|channel| {
            std::array::from_fn(|byte| (byte as f32 / 255.0 - self.mean[channel]) / self.std[channel])
        })
    }
}

impl Normalize {
    /// Reports invalid means and standard deviations.
    pub fn validate(&self, problems: &mut Problems) {
        for (i, (mean, std)) in self.mean.into_iter().zip(self.std).enumerate() {
            problems.check(&format!("mean.{i}"), mean, mean.is_finite(), "a finite number");
            problems.positive(&format!("std.{i}"), f64::from(std));
        }
    }
}

impl Default for Normalize {
    /// 0.5 everywhere: pixels are scaled to [−1, 1], as in MedMNIST's own training recipe.
    fn default() -> Self {
        Self { mean: [0.5; 3], std: [0.5; 3] }
    }
}
