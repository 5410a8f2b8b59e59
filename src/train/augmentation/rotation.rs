//! `rotation`: turn by a random angle; torchvision's `RandomRotation`.

use identity::Identity;
use kind::{Kind, Problems};
use rand::RngCore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::warp::{Affine, Interpolation};
use super::{Augmentation, Change, draws};

/// Turns around the center by a random angle; black where the image ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RotationSpec {
    /// Largest angle to either side, in degrees.
    pub degrees: f64,
    /// How pixels between others are computed.
    pub interpolation: Interpolation,
}

impl Default for RotationSpec {
    fn default() -> Self {
        Self { degrees: 15.0, interpolation: Interpolation::default() }
    }
}

impl Identity for RotationSpec {}

impl Kind for RotationSpec {
    fn validate(&self, problems: &mut Problems) {
        let right = self.degrees > 0.0 && self.degrees <= 180.0;
        problems.check("degrees", self.degrees, right, "above 0 and up to 180");
    }
}

impl Augmentation for RotationSpec {
    fn draw(&self, draws: &mut dyn RngCore) -> Box<dyn Change> {
        let angle = draws::between(draws, [-self.degrees, self.degrees]);
        Box::new(Rotation { angle, interpolation: self.interpolation })
    }
}

/// A rotation by `angle` degrees, counterclockwise.
pub(super) struct Rotation {
    pub(super) angle: f64,
    pub(super) interpolation: Interpolation,
}

impl Change for Rotation {
    fn apply(&self, image: &[u8], size: usize, out: &mut [u8]) {
        Affine { angle: self.angle, ..Affine::default() }.apply(image, size, self.interpolation, out);
    }
}
