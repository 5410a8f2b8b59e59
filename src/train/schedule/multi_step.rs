//! `multi_step`: a factor at each milestone.

use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Schedule, warm_up};

/// Multiplied by `gamma` at each milestone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MultiStepSpec {
    /// Epochs (from 0) at which the rate falls.
    pub milestones: Vec<usize>,
    /// Factor at each milestone.
    #[serde(default = "tenth")]
    pub gamma: f64,
    /// Epochs over which the rate rises linearly from a tenth.
    #[serde(default)]
    pub warmup_epochs: usize,
}

fn tenth() -> f64 {
    0.1
}

impl Identity for MultiStepSpec {}

impl Kind for MultiStepSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.positive("gamma", self.gamma);
        if !self.milestones.is_sorted_by(|a, b| a < b) {
            problems.add("milestones", "`milestones` must increase", None);
        }
    }
}

impl Schedule for MultiStepSpec {
    fn factor(&self, epoch: usize, _: usize) -> f64 {
        warm_up(self.warmup_epochs, epoch).unwrap_or_else(|| {
            let passed = self.milestones.iter().filter(|&&milestone| milestone <= epoch);
            passed.fold(1.0, |factor, _| factor * self.gamma)
        })
    }

    fn warmup_epochs(&self) -> usize {
        self.warmup_epochs
    }
}
