//! `random_resized_crop`: a random part of the image, resized to all of it; torchvision's `RandomResizedCrop`.

use identity::Identity;
use kind::{Kind, Problems};
use rand::RngCore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::resize::resize;
use super::{Augmentation, Change, draws};

/// Most attempts to draw a part that fits.
const ATTEMPTS: usize = 10;

/// Resizes a random part of the image to the whole, with an antialiased bilinear filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RandomResizedCropSpec {
    /// Range of the part's share of the image. A part above 1 never fits; if ten draws do not fit, the image stays.
    pub scale: [f64; 2],
    /// Range of the part's width divided by its height.
    pub ratio: [f64; 2],
}

impl Default for RandomResizedCropSpec {
    fn default() -> Self {
        Self { scale: [0.08, 1.0], ratio: [0.75, 4.0 / 3.0] }
    }
}

impl Identity for RandomResizedCropSpec {}

impl Kind for RandomResizedCropSpec {
    fn validate(&self, problems: &mut Problems) {
        draws::check_range(problems, "scale", self.scale, [1e-4, 100.0]);
        draws::check_range(problems, "ratio", self.ratio, [1e-2, 1e2]);
    }
}

impl Augmentation for RandomResizedCropSpec {
    fn cuts_first(&self) -> bool {
        true
    }

    fn draw(&self, draws: &mut dyn RngCore) -> Box<dyn Change> {
        let mut tries = (0..ATTEMPTS).map(|_| {
            let (area, ratio) = (draws::between(draws, self.scale), draws::between_logs(draws, self.ratio));
            [(area / ratio).sqrt(), (area * ratio).sqrt()]
        });
        let fitting = tries.find(|sides| sides.iter().all(|side| *side <= 1.0));
        let sides = fitting.unwrap_or([1.0; 2]);
        Box::new(ResizedCrop { sides, places: [(); 2].map(|()| draws::unit(draws)) })
    }
}

/// A part of an image.
pub(super) struct ResizedCrop {
    /// Height and width as shares of the side.
    pub(super) sides: [f64; 2],
    /// Where in the free space the part lies, from 0 to 1.
    pub(super) places: [f64; 2],
}

impl Change for ResizedCrop {
    fn apply(&self, image: &[u8], size: usize, out: &mut [u8]) {
        self.reduce(image, size, size, out);
    }

    fn reduce(&self, image: &[u8], side: usize, size: usize, out: &mut [u8]) {
        let [rows, columns] = [0, 1].map(|axis| draws::placed(self.sides[axis], self.places[axis], side));
        resize(image, side, [rows, columns], size, out);
    }
}
