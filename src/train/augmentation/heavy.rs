//! `heavy`: a preset of strong augmentation.

use identity::Identity;
use kind::Kind;
use rand::RngCore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rand_augment::RandAugmentSpec;
use super::random_resized_crop::RandomResizedCropSpec;
use super::{Augmentation, Change, Changes};

/// A preset of strong augmentation: `random_resized_crop` with `scale = [0.7, 1.2]`, and `rand_augment` with two
/// operations of magnitude 15.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeavySpec {}

impl Identity for HeavySpec {}

impl Kind for HeavySpec {}

impl Augmentation for HeavySpec {
    fn cuts_first(&self) -> bool {
        true
    }

    fn draw(&self, draws: &mut dyn RngCore) -> Box<dyn Change> {
        let crop = RandomResizedCropSpec { scale: [0.7, 1.2], ..Default::default() }.draw(draws);
        let policy = RandAugmentSpec { operations: 2, magnitude: 15 }.draw(draws);
        Box::new(Changes(vec![crop, policy]))
    }
}
