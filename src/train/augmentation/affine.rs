//! `affine`: rotate, shift, scale and shear at random; torchvision's `RandomAffine`.

use identity::Identity;
use kind::{Kind, Problems};
use rand::RngCore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::warp::{Affine, Interpolation};
use super::{Augmentation, Change, draws};

/// Rotates, shifts, scales and shears at random around the center; black where the image ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AffineSpec {
    /// Largest rotation to either side, in degrees.
    pub degrees: f64,
    /// Largest shift in each direction, as a share of the side.
    pub translate: f64,
    /// Range of the scale factor.
    pub scale: [f64; 2],
    /// Largest shear along x, to either side, in degrees.
    pub shear: f64,
    /// How pixels between others are computed.
    pub interpolation: Interpolation,
}

impl Default for AffineSpec {
    fn default() -> Self {
        Self {
            degrees: 10.0,
            translate: 0.1,
            scale: [0.9, 1.1],
            shear: 0.0,
            interpolation: Interpolation::default(),
        }
    }
}

impl Identity for AffineSpec {}

impl Kind for AffineSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.check("degrees", self.degrees, (0.0..=180.0).contains(&self.degrees), "from 0 to 180");
        problems.fraction("translate", self.translate);
        draws::check_range(problems, "scale", self.scale, [0.01, 100.0]);
        problems.check("shear", self.shear, (0.0..90.0).contains(&self.shear), "at least 0 and below 90");
    }
}

impl Augmentation for AffineSpec {
    fn draw(&self, draws: &mut dyn RngCore) -> Box<dyn Change> {
        let mut symmetric = |most: f64| draws::between(draws, [-most, most]);
        let angle = symmetric(self.degrees);
        let translate = [(); 2].map(|()| symmetric(self.translate));
        let shear = [symmetric(self.shear), 0.0];
        let scale = draws::between(draws, self.scale);
        Box::new(Warped { angle, translate, scale, shear, interpolation: self.interpolation })
    }
}

/// What was drawn; `translate` in shares of the side.
struct Warped {
    angle: f64,
    translate: [f64; 2],
    scale: f64,
    shear: [f64; 2],
    interpolation: Interpolation,
}

impl Change for Warped {
    fn apply(&self, image: &[u8], size: usize, out: &mut [u8]) {
        let translate = self.translate.map(|share| (share * size as f64).round_ties_even());
        let Self { angle, scale, shear, .. } = *self;
        let affine = Affine { angle, translate, scale, shear, ..Affine::default() };
        affine.apply(image, size, self.interpolation, out);
    }
}
