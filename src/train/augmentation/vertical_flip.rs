//! `vertical_flip`: mirror top and bottom with probability 1/2.

use identity::Identity;
use kind::Kind;
use rand::RngCore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Augmentation, Change, below};

/// Mirrors top and bottom with probability 1/2.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerticalFlipSpec {}

impl Identity for VerticalFlipSpec {}

impl Kind for VerticalFlipSpec {}

impl Augmentation for VerticalFlipSpec {
    fn draw(&self, draws: &mut dyn RngCore) -> Box<dyn Change> {
        Box::new(VerticalFlip { is_flipped: below(draws.next_u64(), 2) == 1 })
    }

    fn variants(&self) -> Option<u32> {
        Some(2)
    }

    fn first_word(&self) -> Option<u128> {
        Some(2)
    }
}

struct VerticalFlip {
    is_flipped: bool,
}

impl Change for VerticalFlip {
    fn apply(&self, image: &[u8], size: usize, out: &mut [u8]) {
        let rows = image.chunks_exact(3 * size);
        out.chunks_exact_mut(3 * size).rev().zip(rows).for_each(|(out, row)| out.copy_from_slice(row));
    }

    fn key(&self) -> u32 {
        u32::from(self.is_flipped)
    }

    fn is_identity(&self) -> bool {
        !self.is_flipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_flipped_twice_is_unchanged() {
        let image: Vec<u8> = (0..27).collect();
        let (mut once, mut twice) = (vec![0; 27], vec![0; 27]);
        let flip = VerticalFlip { is_flipped: true };
        flip.apply(&image, 3, &mut once);
        flip.apply(&once, 3, &mut twice);
        assert_eq!(&once[..3], &image[18..21]);
        assert_eq!(twice, image);
    }
}
