//! `medium`: a preset of moderate augmentation.

use identity::Identity;
use kind::Kind;
use rand::RngCore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::color_jitter::ColorJitterSpec;
use super::horizontal_flip::HorizontalFlipSpec;
use super::random_resized_crop::RandomResizedCropSpec;
use super::{Augmentation, Change, Changes};

/// A preset of moderate augmentation: `random_resized_crop` with `scale = [0.08, 1]`, `horizontal_flip`, and
/// `color_jitter` with factors from 0.6 to 1.4.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MediumSpec {}

impl Identity for MediumSpec {}

impl Kind for MediumSpec {}

impl Augmentation for MediumSpec {
    fn cuts_first(&self) -> bool {
        true
    }

    fn draw(&self, draws: &mut dyn RngCore) -> Box<dyn Change> {
        let crop = RandomResizedCropSpec { scale: [0.08, 1.0], ..Default::default() }.draw(draws);
        let flip = HorizontalFlipSpec {}.draw(draws);
        let jitter =
            ColorJitterSpec { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.0 }.draw(draws);
        Box::new(Changes(vec![crop, flip, jitter]))
    }
}
