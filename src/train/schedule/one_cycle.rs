//! `one_cycle`: rise, then decay to almost 0.

use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Schedule, half_cosine};

/// One-cycle schedule: the learning rate rises, then decays to almost 0 (Smith and Topin 2019, arXiv 1708.07120).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OneCycleSpec {
    /// Fraction of the epochs during which the learning rate rises to `lr`.
    pub rise: f64,
    /// Divisor of the initial learning rate, lr / `start_divisor`.
    pub start_divisor: f64,
    /// Divisor of the final learning rate, lr / (`start_divisor` · `end_divisor`).
    pub end_divisor: f64,
}

impl Default for OneCycleSpec {
    fn default() -> Self {
        Self { rise: 0.3, start_divisor: 25.0, end_divisor: 1e4 }
    }
}

impl Identity for OneCycleSpec {}

impl Kind for OneCycleSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.inner_fraction("rise", self.rise);
        problems.positive("start_divisor", self.start_divisor);
        problems.positive("end_divisor", self.end_divisor);
    }
}

impl Schedule for OneCycleSpec {
    /// Like PyTorch's `OneCycleLR` with one step per epoch. If there are too few epochs for a rise, it starts at the
    /// maximum (PyTorch starts within the decay, or divides by zero).
    fn factor(&self, epoch: usize, epochs: usize) -> f64 {
        let (epoch, epochs) = (epoch as f64, epochs as f64);
        let start = 1.0 / self.start_divisor;
        let top = (self.rise * epochs - 1.0).max(0.0);
        let last = epochs - 1.0;
        if epoch < top {
            half_cosine(start, 1.0, epoch / top)
        } else if last > top {
            half_cosine(1.0, start / self.end_divisor, (epoch - top) / (last - top))
        } else {
            1.0
        }
    }
}
