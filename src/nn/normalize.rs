//! How input pixels are scaled.

use kind::Problems;
use serde::{Deserialize, Serialize};

/// Input pixels p in 0..=255 become (p / 255 − mean) / std, per channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-presets" = {"imagenet": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}))]
pub struct Normalize {
    /// Red, green, blue, on the scale 0..1.
    pub mean: [f32; 3],
    /// Red, green, blue, on the scale 0..1.
    pub std: [f32; 3],
}

impl Normalize {
    /// The scaled value of each byte, per channel.
    pub fn table(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|channel| {
            std::array::from_fn(|byte| (byte as f32 / 255.0 - self.mean[channel]) / self.std[channel])
        })
    }
}

impl Normalize {
    /// Reports numbers that scale no pixel.
    pub fn validate(&self, problems: &mut Problems) {
        for (i, (mean, std)) in self.mean.into_iter().zip(self.std).enumerate() {
            problems.check(&format!("mean.{i}"), mean, mean.is_finite(), "a finite number");
            problems.positive(&format!("std.{i}"), f64::from(std));
        }
    }
}

impl Default for Normalize {
    /// 0.5 everywhere: pixels land in −1..1, as MedMNIST's own recipe has it.
    fn default() -> Self {
        Self { mean: [0.5; 3], std: [0.5; 3] }
    }
}
