//! `horizontal_flip`: mirror left and right with probability 1/2.

use identity::Identity;
use kind::Kind;
use rand::RngCore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Augmentation, Change, below};

/// Mirrors left and right with probability 1/2.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HorizontalFlipSpec {}

impl Identity for HorizontalFlipSpec {}

impl Kind for HorizontalFlipSpec {}

impl Augmentation for HorizontalFlipSpec {
    fn draw(&self, draws: &mut dyn RngCore) -> Box<dyn Change> {
        Box::new(HorizontalFlip { is_flipped: below(draws.next_u64(), 2) == 1 })
    }

    fn variants(&self) -> Option<u32> {
        Some(2)
    }

    fn first_word(&self) -> Option<u128> {
        Some(0)
    }
}

struct HorizontalFlip {
    is_flipped: bool,
}

impl Change for HorizontalFlip {
    fn apply(&self, image: &[u8], size: usize, out: &mut [u8]) {
        out.copy_from_slice(image);
        out.chunks_exact_mut(3 * size).for_each(|row| row.as_chunks_mut::<3>().0.reverse());
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
        let flip = HorizontalFlip { is_flipped: true };
        flip.apply(&image, 3, &mut once);
        flip.apply(&once, 3, &mut twice);
        assert_eq!(&once[..3], &image[6..9]);
        assert_eq!(twice, image);
    }
}
