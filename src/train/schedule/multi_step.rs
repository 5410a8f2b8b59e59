//! `multi_step`: step decay at milestones.

use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Schedule, warm_up};

/// Step decay: the learning rate is multiplied by `gamma` at each milestone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MultiStepSpec {
    /// Epochs (from 0) at which the learning rate decays.
    pub milestones: Vec<usize>,
    /// Decay factor at each milestone.
    #[serde(default = "tenth")]
    pub gamma: f64,
    /// Number of warm-up epochs, over which the learning rate rises linearly from a tenth of `lr` to `lr`.
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
