//! `cutmix` (arXiv 1905.04899): paste a part of another image; torchvision's `CutMix`.

use std::ops::Range;

use identity::Identity;
use kind::{Kind, Problems};
use rand::RngCore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mixing::{Mix, Mixing, lambda, validate};
use super::{Augmentation, below};

/// Pastes a rectangle of another image of the batch, at the same place, and mixes labels by area (arXiv 1905.04899). The
/// rectangle has the share 1 − λ of the image, with one λ from Beta(α, α) for a batch, less what is outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CutmixSpec {
    /// α of the distribution of λ: the smaller, the more often one of the two images dominates.
    pub alpha: f64,
    /// Probability that a batch is mixed.
    pub probability: f64,
}

impl Default for CutmixSpec {
    fn default() -> Self {
        Self { alpha: 1.0, probability: 1.0 }
    }
}

impl Identity for CutmixSpec {}

impl Kind for CutmixSpec {
    fn validate(&self, problems: &mut Problems) {
        validate(self.probability, self.alpha, problems);
    }
}

impl Augmentation for CutmixSpec {
    fn mixing(&self) -> Option<&dyn Mixing> {
        Some(self)
    }
}

impl Mixing for CutmixSpec {
    fn draw(&self, draws: &mut dyn RngCore, size: usize) -> Option<Box<dyn Mix>> {
        let lambda = lambda(draws, self.probability, self.alpha)?;
        let [column, row] = [(); 2].map(|()| below(draws.next_u64(), size));
        Some(Box::new(Paste::new(lambda, [row, column], size)))
    }
}

/// A rectangle of the other image.
pub(super) struct Paste {
    rows: Range<usize>,
    columns: Range<usize>,
    share: f64,
}

impl Paste {
    /// A rectangle with the share 1 − λ of an image of this side, around a center, clipped to the image.
    pub(super) fn new(lambda: f64, center: [usize; 2], size: usize) -> Self {
        let half = (0.5 * (1.0 - lambda).sqrt() * size as f64) as usize;
        let [rows, columns] = center.map(|center| center.saturating_sub(half)..(center + half).min(size));
        let share = 1.0 - (rows.len() * columns.len()) as f64 / (size * size) as f64;
        Self { rows, columns, share }
    }
}

impl Mix for Paste {
    fn share(&self) -> f64 {
        self.share
    }

    fn apply(&self, image: &mut [f32], other: &[f32], size: usize) {
        for row in self.rows.clone() {
            let part = (row * size + self.columns.start) * 3..(row * size + self.columns.end) * 3;
            image[part.clone()].copy_from_slice(&other[part]);
        }
    }
}
