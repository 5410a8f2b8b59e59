//! How input pixels are scaled.

use serde::{Deserialize, Serialize};

/// Input pixels p in 0..=255 become (p / 255 − mean) / std, per channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

impl Default for Normalize {
    /// 0.5 everywhere: pixels land in −1..1, as MedMNIST's own recipe has it.
    fn default() -> Self {
        Self { mean: [0.5; 3], std: [0.5; 3] }
    }
}
