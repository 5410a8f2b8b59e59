//! `minimal`: a preset of light augmentation.

use identity::Identity;
use kind::Kind;
use rand::RngCore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::random_resized_crop::RandomResizedCropSpec;
use super::{Augmentation, Change};

/// A preset of light augmentation: `random_resized_crop` with `scale = [0.9, 1]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MinimalSpec {}

impl Identity for MinimalSpec {}

impl Kind for MinimalSpec {}

impl Augmentation for MinimalSpec {
    fn cuts_first(&self) -> bool {
        true
    }

    fn draw(&self, draws: &mut dyn RngCore) -> Box<dyn Change> {
        RandomResizedCropSpec { scale: [0.9, 1.0], ..Default::default() }.draw(draws)
    }
}
