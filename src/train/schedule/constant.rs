//! `constant`: constant learning rate.

use identity::Identity;
use kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Schedule, warm_up};

/// Constant learning rate after the warm-up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConstantSpec {
    /// Number of warm-up epochs, over which the learning rate rises linearly from a tenth of `lr` to `lr`.
    pub warmup_epochs: usize,
}

impl Identity for ConstantSpec {}

impl Kind for ConstantSpec {}

impl Schedule for ConstantSpec {
    fn factor(&self, epoch: usize, _: usize) -> f64 {
        warm_up(self.warmup_epochs, epoch).unwrap_or(1.0)
    }

    fn warmup_epochs(&self) -> usize {
        self.warmup_epochs
    }
}
