//! `trivial_augment` (arXiv 2103.10158): one random operation of random magnitude; torchvision's
//! `TrivialAugmentWide`.

use identity::Identity;
use kind::Kind;
use rand::RngCore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{LARGEST_MAGNITUDE, Operate, Operation};
use super::{Augmentation, Change, below, draws};

/// Applies one random operation of random magnitude, from the wide space of arXiv 2103.10158.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrivialAugmentSpec {}

impl Identity for TrivialAugmentSpec {}

impl Kind for TrivialAugmentSpec {}

impl Augmentation for TrivialAugmentSpec {
    fn draw(&self, draws: &mut dyn RngCore) -> Box<dyn Change> {
        let operation = Operation::ALL[below(draws.next_u64(), Operation::ALL.len())];
        let share = below(draws.next_u64(), LARGEST_MAGNITUDE + 1) as f64 / LARGEST_MAGNITUDE as f64;
        let size = magnitude(operation, share);
        let magnitude = if operation.is_signed() { draws::signed(draws, size) } else { size };
        Box::new(Operate { operation, magnitude, relative: false })
    }
}

/// The magnitude of an operation at a share of its range.
fn magnitude(operation: Operation, share: f64) -> f64 {
    match operation {
        Operation::TranslateX | Operation::TranslateY => 32.0 * share,
        Operation::Rotate => 135.0 * share,
        Operation::Posterize => 8.0 - (6.0 * share).round_ties_even(),
        Operation::Solarize => 1.0 - share,
        Operation::Identity | Operation::AutoContrast | Operation::Equalize => 0.0,
        _ => 0.99 * share,
    }
}
