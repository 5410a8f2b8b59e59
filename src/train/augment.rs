//! Random changes of training images, on u8 pixels before they become tensors.

use rand::Rng;
use serde::{Deserialize, Serialize};

/// Random changes of the training images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentSpec {
    /// Mirror left and right, half of the time.
    pub horizontal_flip: bool,
    /// Mirror top and bottom, half of the time.
    pub vertical_flip: bool,
    /// Pad by so many black pixels on each side, then crop to the old size at a random place.
    pub crop_padding: usize,
}

impl AugmentSpec {
    /// Whether there are so few variants of an image that what follows from each is worth keeping.
    pub fn has_few_variants(&self) -> bool {
        self.crop_padding == 0
    }

    /// How many variants of an image are to be expected in so many epochs, of the few that mirroring makes; `None` if
    /// there are many, so that nearly every one is new.
    pub fn distinct_variants(&self, epochs: u64) -> Option<f64> {
        let variants = 2f64.powi(i32::from(self.horizontal_flip) + i32::from(self.vertical_flip));
        let missed = (1.0 - 1.0 / variants).powf(epochs as f64);
        self.has_few_variants().then_some(variants * (1.0 - missed))
    }

    /// A random change of an image.
    ///
    /// Takes four numbers from `rng` whatever they turn out to be and whatever is switched on, so that
    /// switching on one change leaves the others as they were.
    pub fn draw(&self, rng: &mut impl Rng) -> Change {
        let [mirror, turn, down, right] = std::array::from_fn(|_| rng.next_u64());
        let flip = Flip {
            horizontal: self.horizontal_flip && below(mirror, 2) == 1,
            vertical: self.vertical_flip && below(turn, 2) == 1,
        };
        let offset = |number| below(number, 2 * self.crop_padding + 1);
        Change { flip, shift: Shift { down: offset(down), right: offset(right), padding: self.crop_padding } }
    }
}

/// A change of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    flip: Flip,
    shift: Shift,
}

impl Change {
    /// Writes the variant of a square RGB image: `size` rows of `size` pixels of 3 bytes, as is `out`.
    ///
    /// # Panics
    /// When `image` or `out` is not of that length.
    pub fn apply(&self, image: &[u8], size: usize, out: &mut [u8]) {
        assert_eq!((image.len(), out.len()), (size * size * 3, size * size * 3), "not a square RGB image");
        flip_and_shift(image, size, self.flip, self.shift, out);
    }
}

/// A random number as one below `bound`. Always of one draw, unlike rand's ranges, which draw again to
/// be rid of a bias of 2⁻⁶⁴ · bound.
fn below(number: u64, bound: usize) -> usize {
    ((u128::from(number) * bound as u128) >> 64) as usize
}

/// Which mirrorings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Flip {
    horizontal: bool,
    vertical: bool,
}

/// Where the crop lies in the padded image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Shift {
    down: usize,
    right: usize,
    padding: usize,
}

/// Crops from the padded image, then mirrors the crop.
fn flip_and_shift(image: &[u8], size: usize, flip: Flip, shift: Shift, out: &mut [u8]) {
    let row_bytes = 3 * size;
    for (y, out_row) in out.chunks_exact_mut(row_bytes.max(1)).enumerate() {
        let crop_y = if flip.vertical { size - 1 - y } else { y };
        let source = (crop_y + shift.down).checked_sub(shift.padding).filter(|&y| y < size);
        match source {
            Some(y) => shift_row(&image[y * row_bytes..][..row_bytes], shift, out_row),
            None => out_row.fill(0),
        }
        if flip.horizontal {
            out_row.as_chunks_mut::<3>().0.reverse();
        }
    }
}

/// `out[x] = row[x + right − padding]`, black outside; in pixels of 3 bytes.
fn shift_row(row: &[u8], shift: Shift, out: &mut [u8]) {
    let start = 3 * shift.padding.saturating_sub(shift.right).min(row.len() / 3);
    let skipped = 3 * shift.right.saturating_sub(shift.padding).min(row.len() / 3);
    let kept = row.len() - start - skipped;
    out.fill(0);
    out[start..start + kept].copy_from_slice(&row[skipped..skipped + kept]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngCore;
    use rng::{Purpose, rng};

    const SIZE: usize = 5;

    /// No two bytes are alike.
    fn image() -> Vec<u8> {
        (1..=(SIZE * SIZE * 3) as u8).collect()
    }

    fn applied(spec: &AugmentSpec, image: &[u8], index: u64) -> Vec<u8> {
        let mut out = vec![77; image.len()];
        spec.draw(&mut rng(3, Purpose::Augment, 0, index)).apply(image, SIZE, &mut out);
        out
    }

    fn pixel(image: &[u8], y: usize, x: usize) -> &[u8] {
        &image[(y * SIZE + x) * 3..][..3]
    }

    #[test]
    fn nothing_switched_on_changes_nothing() {
        assert!((0..20).all(|index| applied(&AugmentSpec::default(), &image(), index) == image()));
    }

    #[test]
    fn a_mirror_swaps_sides_and_mirrored_twice_is_as_before() {
        for (horizontal, vertical) in [(true, false), (false, true), (true, true)] {
            let flip = Flip { horizontal, vertical };
            let still = Shift { down: 0, right: 0, padding: 0 };
            let (mut once, mut twice) = (image(), image());
            flip_and_shift(&image(), SIZE, flip, still, &mut once);
            flip_and_shift(&once, SIZE, flip, still, &mut twice);
            let y = if vertical { SIZE - 1 } else { 0 };
            let x = if horizontal { SIZE - 1 } else { 0 };
            assert_eq!(pixel(&once, 0, 0), pixel(&image(), y, x));
            assert_eq!(twice, image());
        }
    }

    #[test]
    fn a_crop_is_a_shift_with_black_borders() {
        let image = image();
        for (down, right, padding) in [(0, 0, 2), (4, 1, 2), (2, 2, 2), (0, 14, 7), (6, 8, 7)] {
            let mut out = vec![77; image.len()];
            let still = Flip { horizontal: false, vertical: false };
            flip_and_shift(&image, SIZE, still, Shift { down, right, padding }, &mut out);
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

    #[test]
    fn each_flip_happens_half_of_the_time_and_apart_from_the_other() {
        let spec = AugmentSpec { horizontal_flip: true, vertical_flip: true, crop_padding: 0 };
        let image = image();
        let corners = [(0, 0), (0, SIZE - 1), (SIZE - 1, 0), (SIZE - 1, SIZE - 1)];
        let mut seen = [0; 4];
        for index in 0..2000 {
            let out = applied(&spec, &image, index);
            let from = corners.iter().position(|&(y, x)| pixel(&image, y, x) == pixel(&out, 0, 0));
            seen[from.expect("a corner stays a corner")] += 1;
        }
        // 500 expected each; five standard deviations are 97
        assert!(seen.iter().all(|count| (403..=597).contains(count)), "{seen:?}");
    }

    #[test]
    fn mirroring_makes_few_variants_and_cropping_many() {
        let few = |horizontal_flip, vertical_flip, epochs| {
            AugmentSpec { horizontal_flip, vertical_flip, crop_padding: 0 }.distinct_variants(epochs)
        };
        assert_eq!(few(false, false, 7), Some(1.0));
        assert_eq!([few(true, false, 1), few(true, false, 2)], [Some(1.0), Some(1.5)]);
        assert!(few(true, true, 100).is_some_and(|variants| (3.99..=4.0).contains(&variants)));
        assert_eq!(AugmentSpec { crop_padding: 1, ..AugmentSpec::default() }.distinct_variants(7), None);
    }

    #[test]
    fn every_crop_is_as_likely() {
        let mut seen = [0; 5];
        for index in 0..5000 {
            seen[below(rng(1, Purpose::Augment, 0, index).next_u64(), 5)] += 1;
        }
        assert!(seen.iter().all(|count| (850..=1150).contains(count)), "{seen:?}");
    }

    #[test]
    fn the_draws_do_not_depend_on_what_is_switched_on() {
        let everything = AugmentSpec { horizontal_flip: true, vertical_flip: true, crop_padding: 4 };
        let next = |spec: &AugmentSpec, index| {
            let mut rng = rng(3, Purpose::Augment, 0, index);
            spec.draw(&mut rng);
            rng.next_u64()
        };
        assert!((0..50).all(|index| next(&AugmentSpec::default(), index) == next(&everything, index)));
    }
}
