//! `cosine`: down a half cosine.

use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Schedule, half_cosine, warm_up};

/// Down a half cosine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CosineSpec {
    /// Epochs over which the rate rises linearly from a tenth.
    pub warmup_epochs: usize,
    /// Where it ends, as a fraction of the learning rate.
    pub min_factor: f64,
}

impl Identity for CosineSpec {}

impl Kind for CosineSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.fraction("min_factor", self.min_factor);
    }
}

impl Schedule for CosineSpec {
    /// The cosine runs over the epochs after the warm-up.
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
