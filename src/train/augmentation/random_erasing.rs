//! `random_erasing` (arXiv 1708.04896): blacken a random rectangle; torchvision's `RandomErasing`.

use identity::Identity;
use kind::{Kind, Problems};
use rand::RngCore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Augmentation, Change, draws};

/// Most attempts to draw a rectangle that fits.
const ATTEMPTS: usize = 10;

/// Blackens a random rectangle (arXiv 1708.04896).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RandomErasingSpec {
    /// Probability that an image is changed.
    pub probability: f64,
    /// Range of the rectangle's share of the image.
    pub scale: [f64; 2],
    /// Range of the rectangle's height divided by its width.
    pub ratio: [f64; 2],
}

impl Default for RandomErasingSpec {
    fn default() -> Self {
        Self { probability: 0.5, scale: [0.02, 0.33], ratio: [0.3, 3.3] }
    }
}

impl Identity for RandomErasingSpec {}

impl Kind for RandomErasingSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.fraction("probability", self.probability);
        draws::check_range(problems, "scale", self.scale, [1e-4, 1.0]);
        draws::check_range(problems, "ratio", self.ratio, [1e-2, 1e2]);
    }
}

impl Augmentation for RandomErasingSpec {
    fn draw(&self, draws: &mut dyn RngCore) -> Box<dyn Change> {
        if draws::unit(draws) >= self.probability {
            return Box::new(Erasing(None));
        }
        let mut tries = (0..ATTEMPTS).map(|_| {
            let (area, ratio) = (draws::between(draws, self.scale), draws::between_logs(draws, self.ratio));
            [(area * ratio).sqrt(), (area / ratio).sqrt()]
        });
        let fitting = tries.find(|sides| sides.iter().all(|side| *side < 1.0));
        Box::new(Erasing(fitting.map(|sides| (sides, [(); 2].map(|()| draws::unit(draws))))))
    }
}

/// Height and width as shares of the side, and where in the free space they lie, from 0 to 1; if any.
struct Erasing(Option<([f64; 2], [f64; 2])>);

impl Change for Erasing {
    fn apply(&self, image: &[u8], size: usize, out: &mut [u8]) {
        out.copy_from_slice(image);
        let Some((sides, places)) = self.0 else { return };
        let [rows, columns] = [0, 1].map(|axis| draws::placed(sides[axis], places[axis], size));
        for row in rows {
            out[(row * size + columns.start) * 3..(row * size + columns.end) * 3].fill(0);
        }
    }

    fn is_identity(&self) -> bool {
        self.0.is_none()
    }
}
