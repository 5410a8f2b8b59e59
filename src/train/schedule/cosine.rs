//! `cosine`: half-cosine decay.

use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Schedule, half_cosine, warm_up};

/// Half-cosine decay after the warm-up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CosineSpec {
    /// Number of warm-up epochs, over which the learning rate rises linearly from a tenth of `lr` to `lr`.
    pub warmup_epochs: usize,
    /// Final learning rate, as a fraction of `lr`.
    pub min_factor: f64,
}

impl Identity for CosineSpec {}

impl Kind for CosineSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.fraction("min_factor", self.min_factor);
    }
}

impl Schedule for CosineSpec {
    /// The cosine covers the epochs after the warm-up.
    fn factor(&self, epoch: usize, epochs: usize) -> f64 {
        warm_up(self.warmup_epochs, epoch).unwrap_or_else(|| {
            let rest = epochs.saturating_sub(self.warmup_epochs).max(1);
            half_cosine(1.0, self.min_factor, (epoch - self.warmup_epochs) as f64 / rest as f64)
        })
    }

    fn warmup_epochs(&self) -> usize {
        self.warmup_epochs
    }
}
