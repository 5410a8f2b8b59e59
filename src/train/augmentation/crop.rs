//! `crop`: pad with black pixels, then crop to the original size at a random position.

use identity::Identity;
use kind::{Kind, Problems};
use rand::RngCore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Augmentation, Change, below};

/// Pads with black pixels on each side, then crops to the original size at a random position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CropSpec {
    /// Padding on each side, in pixels.
    pub padding: usize,
}

impl Default for CropSpec {
    fn default() -> Self {
        Self { padding: 4 }
    }
}

impl Identity for CropSpec {}

impl Kind for CropSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.up_to("padding", self.padding, 4096);
    }
}

impl Augmentation for CropSpec {
    fn draw(&self, draws: &mut dyn RngCore) -> Box<dyn Change> {
        let places = 2 * self.padding + 1;
        let [down, right] = [(); 2].map(|()| below(draws.next_u64(), places));
        Box::new(Crop { down, right, padding: self.padding })
    }

    /// A larger shift would leave nothing of the image.
    fn misfit(&self, size: usize) -> Option<String> {
        (self.padding >= size).then(|| {
            let padding = self.padding;
            format!("`crop.padding` is {padding}, but the images have a side of {size} pixels; set it below {size}")
        })
    }

    fn first_word(&self) -> Option<u128> {
        Some(4)
    }
}

/// Offset of the crop in the padded image.
struct Crop {
    down: usize,
    right: usize,
    padding: usize,
}

impl Change for Crop {
    fn apply(&self, image: &[u8], size: usize, out: &mut [u8]) {
        let row_bytes = 3 * size;
        for (y, out_row) in out.chunks_exact_mut(row_bytes.max(1)).enumerate() {
            match (y + self.down).checked_sub(self.padding).filter(|&y| y < size) {
                Some(y) => self.shift_row(&image[y * row_bytes..][..row_bytes], out_row),
                None => out_row.fill(0),
            }
        }
    }
}

impl Crop {
    /// `out[x] = row[x + right − padding]`, black outside; in pixels of 3 bytes.
    fn shift_row(&self, row: &[u8], out: &mut [u8]) {
        let start = 3 * self.padding.saturating_sub(self.right).min(row.len() / 3);
        let skipped = 3 * self.right.saturating_sub(self.padding).min(row.len() / 3);
        let kept = row.len() - start - skipped;
        out.fill(0);
        out[start..start + kept].copy_from_slice(&row[skipped..skipped + kept]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 5;

    fn pixel(image: &[u8], y: usize, x: usize) -> &[u8] {
        &image[(y * SIZE + x) * 3..][..3]
    }

    #[test]
    fn a_crop_is_a_shift_with_black_borders() {
        let image: Vec<u8> = (1..=(SIZE * SIZE * 3) as u8).collect();
        for (down, right, padding) in [(0, 0, 2), (4, 1, 2), (2, 2, 2), (0, 14, 7), (6, 8, 7)] {
            let mut out = vec![77; image.len()];
            Crop { down, right, padding }.apply(&image, SIZE, &mut out);
            for (y, x) in (0..SIZE).flat_map(|y| (0..SIZE).map(move |x| (y, x))) {
                let source = [y + down, x + right].map(|at| at.checked_sub(padding).filter(|&at| at < SIZE));
                let want = match source {
                    [Some(y), Some(x)] => pixel(&image, y, x),
                    _ => &[0, 0, 0],
                };
                assert_eq!(pixel(&out, y, x), want, "{down} {right} of {padding}, at {y} {x}");
            }
        }
    }
}
