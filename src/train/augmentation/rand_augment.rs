//! `rand_augment` (arXiv 1909.13719): a few random operations of one magnitude; torchvision's `RandAugment`.

use identity::Identity;
use kind::{Kind, Problems};
use rand::RngCore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{LARGEST_MAGNITUDE, Operate, Operation};
use super::{Augmentation, Change, Changes, below, draws};

/// Applies `operations` random operations of one magnitude (arXiv 1909.13719).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RandAugmentSpec {
    /// Number of operations, N in the paper.
    pub operations: usize,
    /// Magnitude of each from 0 to 30, M in the paper.
    pub magnitude: usize,
}

impl Default for RandAugmentSpec {
    fn default() -> Self {
        Self { operations: 2, magnitude: 9 }
    }
}

impl Identity for RandAugmentSpec {}

impl Kind for RandAugmentSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.up_to("operations", self.operations, Operation::ALL.len());
        let right = self.magnitude <= LARGEST_MAGNITUDE;
        problems.check("magnitude", self.magnitude, right, &format!("0 to {LARGEST_MAGNITUDE}"));
    }
}

impl Augmentation for RandAugmentSpec {
    fn draw(&self, draws: &mut dyn RngCore) -> Box<dyn Change> {
        let share = self.magnitude as f64 / LARGEST_MAGNITUDE as f64;
        let mut operate = || -> Box<dyn Change> {
            let operation = Operation::ALL[below(draws.next_u64(), Operation::ALL.len())];
            let size = magnitude(operation, share);
            let magnitude = if operation.is_signed() { draws::signed(draws, size) } else { size };
            Box::new(Operate { operation, magnitude, relative: true })
        };
        Box::new(Changes((0..self.operations).map(|_| operate()).collect()))
    }
}

/// The magnitude of an operation at a share of its range.
pub(super) fn magnitude(operation: Operation, share: f64) -> f64 {
    match operation {
        Operation::ShearX | Operation::ShearY => 0.3 * share,
        Operation::TranslateX | Operation::TranslateY => 150.0 / 331.0 * share,
        Operation::Rotate => 30.0 * share,
        Operation::Brightness | Operation::Color | Operation::Contrast | Operation::Sharpness => 0.9 * share,
        Operation::Posterize => 8.0 - (4.0 * share).round_ties_even(),
        Operation::Solarize => 1.0 - share,
        Operation::Identity | Operation::AutoContrast | Operation::Equalize => 0.0,
    }
}
