//! `mixup` (arXiv 1710.09412): blend pairs of images and their labels; torchvision's `MixUp`.

use identity::Identity;
use kind::{Kind, Problems};
use rand::RngCore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Augmentation;
use super::mixing::{Mix, Mixing, blend, lambda, validate};

/// Blends each image of a batch with another, and their labels alike (arXiv 1710.09412): λ · image + (1 − λ) · other,
/// with one λ from Beta(α, α) for a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MixupSpec {
    /// α of the distribution of λ: the smaller, the more often one of the two images dominates.
    pub alpha: f64,
    /// Probability that a batch is mixed.
    pub probability: f64,
}

impl Default for MixupSpec {
    fn default() -> Self {
        Self { alpha: 1.0, probability: 1.0 }
    }
}

impl Identity for MixupSpec {}

impl Kind for MixupSpec {
    fn validate(&self, problems: &mut Problems) {
        validate(self.probability, self.alpha, problems);
    }
}

impl Augmentation for MixupSpec {
    fn mixing(&self) -> Option<&dyn Mixing> {
        Some(self)
    }
}

impl Mixing for MixupSpec {
    fn draw(&self, draws: &mut dyn RngCore, _: usize) -> Option<Box<dyn Mix>> {
        let lambda = lambda(draws, self.probability, self.alpha)?;
        Some(Box::new(Blend { lambda }))
    }
}

/// Weighted sum of two images.
pub(super) struct Blend {
    pub(super) lambda: f64,
}

impl Mix for Blend {
    fn share(&self) -> f64 {
        self.lambda
    }

    fn apply(&self, image: &mut [f32], other: &[f32], _: usize) {
        blend(image, other, self.lambda);
    }
}
