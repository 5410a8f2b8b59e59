//! `constant`: the same learning rate throughout.

use identity::Identity;
use kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Schedule, warm_up};

/// The same learning rate throughout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConstantSpec {
    /// Epochs over which the rate rises linearly from a tenth.
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
