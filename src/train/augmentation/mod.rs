//! Random augmentation of training images, on u8 pixels before they become tensors: an ordered list of transforms.
//!
//! | file | what |
//! |---|---|
//! | [`horizontal_flip`], [`vertical_flip`] | mirror with probability 1/2 |
//! | [`crop`] | pad with black, crop to the original size at a random position |
//! | [`random_resized_crop`] | a random part, resized to the whole |
//! | [`rotation`], [`affine`] | geometric transforms around the center |
//! | [`color_jitter`], [`gaussian_blur`], [`random_erasing`] | colors, sharpness, occlusion |
//! | [`rand_augment`], [`trivial_augment`] | policies of random operations |
//! | [`mixup`], [`cutmix`] | mix the images of a batch, and their labels |
//! | [`minimal`], [`medium`], [`heavy`] | presets |
//! | `warp`, `color`, `operation` | what transforms share: affine maps, changes of colors, the policies' operations |
//! | [`mixing`] | what transforms of batches share |
//! | `draws` | random numbers |
//!
//! To add one: a file here with a spec that implements [`Augmentation`], a `mod` line and a line in
//! [`AugmentationSpec`].

pub mod affine;
mod color;
pub mod color_jitter;
pub mod crop;
pub mod cutmix;
mod draws;
pub mod gaussian_blur;
pub mod heavy;
pub mod horizontal_flip;
pub mod medium;
pub mod minimal;
pub mod mixing;
pub mod mixup;
mod operation;
pub mod rand_augment;
pub mod random_erasing;
pub mod random_resized_crop;
pub mod rotation;
pub mod trivial_augment;
pub mod vertical_flip;
pub mod warp;

use identity::Identity;
use kind::{Kind, Problems, kinds};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use rng::{Purpose, name_index, rng};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::affine::AffineSpec;
use self::color_jitter::ColorJitterSpec;
use self::crop::CropSpec;
use self::cutmix::CutmixSpec;
use self::gaussian_blur::GaussianBlurSpec;
use self::heavy::HeavySpec;
use self::horizontal_flip::HorizontalFlipSpec;
use self::medium::MediumSpec;
use self::minimal::MinimalSpec;
use self::mixing::{Mix, Mixing};
use self::mixup::MixupSpec;
use self::rand_augment::RandAugmentSpec;
use self::random_erasing::RandomErasingSpec;
use self::random_resized_crop::RandomResizedCropSpec;
use self::rotation::RotationSpec;
use self::trivial_augment::TrivialAugmentSpec;
use self::vertical_flip::VerticalFlipSpec;

kinds! {
    /// A random transform of a training image, or of a batch of them. The kind is the key.
    pub enum AugmentationSpec: Augmentation {
        HorizontalFlip(HorizontalFlipSpec),
        VerticalFlip(VerticalFlipSpec),
        Crop(CropSpec),
        RandomResizedCrop(RandomResizedCropSpec),
        Rotation(RotationSpec),
        Affine(AffineSpec),
        ColorJitter(ColorJitterSpec),
        GaussianBlur(GaussianBlurSpec),
        RandomErasing(RandomErasingSpec),
        RandAugment(RandAugmentSpec),
        TrivialAugment(TrivialAugmentSpec),
        Mixup(MixupSpec),
        Cutmix(CutmixSpec),
        Minimal(MinimalSpec),
        Medium(MediumSpec),
        Heavy(HeavySpec),
    }
}

/// What every kind of transform declares: how it changes images, or how it mixes those of a batch.
pub trait Augmentation: Kind {
    /// Draws a random change of an image; none if it mixes batches. The stream `draws` belongs to the kind alone.
    fn draw(&self, draws: &mut dyn RngCore) -> Box<dyn Change> {
        let _ = draws;
        Box::new(Changes(Vec::new()))
    }

    /// How it mixes batches; `None` if it changes images.
    fn mixing(&self) -> Option<&dyn Mixing> {
        None
    }

    /// Why it does not fit images with this side in pixels, and what to do.
    fn misfit(&self, size: usize) -> Option<String> {
        let _ = size;
        None
    }

    /// Number of variants of an image, if small enough that caching what is computed from each variant pays off.
    fn variants(&self) -> Option<u32> {
        None
    }

    /// Offset, in 32-bit words, of its random numbers in the first stream of an image, for kinds that share that
    /// stream. Every other kind has its own stream, so adding a transform does not change the random numbers of the
    /// others.
    fn first_word(&self) -> Option<u128> {
        None
    }
}

/// A change of an image.
pub trait Change: Send + Sync {
    /// Writes the variant of a square RGB image, `[size, size, 3]`, to `out` of the same shape.
    fn apply(&self, image: &[u8], size: usize, out: &mut [u8]);

    /// Identifies the variant if [`Augmentation::variants`] is known; otherwise unused.
    fn key(&self) -> u32 {
        0
    }

    /// Whether the image is unchanged.
    fn is_identity(&self) -> bool {
        false
    }
}

/// Transforms of the training images, applied in order; those of batches come last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Augment(pub Vec<AugmentationSpec>);

impl Augment {
    /// Draws the changes of an image, given its [draw](super::sampling), in an epoch (from 0) of a training with this
    /// seed.
    pub fn draw(&self, seed: u64, epoch: usize, draw: usize) -> Changes {
        let image = rng(seed, Purpose::Augment, epoch as u64, draw as u64);
        let change = |(i, transform): (usize, &AugmentationSpec)| {
            transform.draw(&mut self.stream(image.clone(), i, transform))
        };
        Changes(self.0.iter().enumerate().filter(|(_, kind)| kind.mixing().is_none()).map(change).collect())
    }

    /// Draws the mixes of a batch of images with this side, given its number in the epoch, both from 0. Streams belong
    /// to kinds, so the numbers are not those of the image with the same index.
    pub fn mixes(&self, seed: u64, epoch: usize, batch: usize, size: usize) -> Vec<Box<dyn Mix>> {
        let batch = rng(seed, Purpose::Augment, epoch as u64, batch as u64);
        let mix = |(i, transform): (usize, &AugmentationSpec)| {
            transform.mixing()?.draw(&mut self.stream(batch.clone(), i, transform), size)
        };
        self.0.iter().enumerate().filter_map(mix).collect()
    }

    /// Whether batches are mixed, so that labels are probabilities.
    pub fn mixes_batches(&self) -> bool {
        self.0.iter().any(|transform| transform.mixing().is_some())
    }

    /// Random stream of the transform at position `i`: determined by its kind and its rank among transforms of that
    /// kind.
    fn stream(&self, mut image: ChaCha8Rng, i: usize, transform: &AugmentationSpec) -> ChaCha8Rng {
        let before = self.0[..i].iter().filter(|other| other.kind() == transform.kind()).count() as u64;
        match transform.first_word() {
            Some(word) => {
                image.set_stream(before);
                image.set_word_pos(word);
            }
            None => image.set_stream(name_index(transform.kind()).wrapping_add(before)),
        }
        image
    }

    /// Whether an image has so few variants that caching what is computed from each variant pays off.
    pub fn has_few_variants(&self) -> bool {
        self.0.iter().all(|transform| transform.variants().is_some())
    }

    /// Expected number of distinct variants of an image in `epochs` epochs, n (1 − (1 − 1/n)^epochs) for n equally
    /// likely ones; `None` if there are so many that nearly every variant is new.
    pub fn distinct_variants(&self, epochs: u64) -> Option<f64> {
        let variants =
            self.0.iter().map(|transform| transform.variants().map(f64::from)).product::<Option<f64>>()?;
        let missed = (1.0 - 1.0 / variants).powf(epochs as f64);
        Some(variants * (1.0 - missed))
    }

    /// The three switches of the former format, if they can express this list: a crop followed by flips.
    fn switches(&self) -> Option<Value> {
        let (mut horizontal, mut vertical, mut padding) = (false, false, 0);
        for transform in &self.0 {
            match transform {
                AugmentationSpec::HorizontalFlip(_) if !horizontal => horizontal = true,
                AugmentationSpec::VerticalFlip(_) if !vertical => vertical = true,
                AugmentationSpec::Crop(crop) if padding == 0 && !horizontal && !vertical => {
                    padding = crop.padding;
                }
                _ => return None,
            }
        }
        Some(json!({ "horizontal_flip": horizontal, "vertical_flip": vertical, "crop_padding": padding }))
    }
}

impl Identity for Augment {
    /// Lists that the former switches could express keep their fingerprint.
    fn options(&self) -> Value {
        let listed = || self.0.iter().map(AugmentationSpec::tagged_options).collect();
        self.switches().unwrap_or_else(listed)
    }
}

impl Kind for Augment {
    fn validate(&self, problems: &mut Problems) {
        for (i, transform) in self.0.iter().enumerate() {
            problems.under(&format!("{i}.{}", transform.kind()), |problems| transform.validate(problems));
        }
    }

    /// Batches are mixed after their images have changed.
    fn validate_together(&self, problems: &mut Problems) {
        let kinds = || self.0.iter().enumerate();
        let Some((first, mixing)) = kinds().find(|(_, kind)| kind.mixing().is_some()) else { return };
        for (i, late) in kinds().skip(first).filter(|(_, kind)| kind.mixing().is_none()) {
            let (late, mixing) = (late.kind(), mixing.kind());
            let message = format!("`{late}` changes images, but stands after `{mixing}`, which mixes them");
            let help = format!("move `{late}` before `{mixing}`");
            problems.add(&format!("{i}.{late}"), message, Some(help));
        }
    }
}

/// The changes drawn for one image, one per transform of a list.
pub struct Changes(Vec<Box<dyn Change>>);

impl Changes {
    /// Applies the changes to a square RGB image, `[size, size, 3]`. `buffers` hold the result unless it is unchanged.
    ///
    /// # Panics
    /// If `image` does not have that length.
    pub fn applied<'b>(&self, image: &'b [u8], size: usize, buffers: &'b mut [Vec<u8>; 2]) -> &'b [u8] {
        assert_eq!(image.len(), size * size * 3, "not a square RGB image");
        let [current, next] = buffers;
        let mut is_changed = false;
        for change in self.0.iter().filter(|change| !change.is_identity()) {
            next.resize(image.len(), 0);
            change.apply(if is_changed { current } else { image }, size, next);
            std::mem::swap(current, next);
            is_changed = true;
        }
        if is_changed { current } else { image }
    }

    /// Identifies the variant: see [`Augment::has_few_variants`].
    pub fn key(&self) -> Vec<u32> {
        self.0.iter().map(|change| change.key()).collect()
    }
}

/// For transforms that are made of others.
impl Change for Changes {
    fn apply(&self, image: &[u8], size: usize, out: &mut [u8]) {
        out.copy_from_slice(self.applied(image, size, &mut Default::default()));
    }

    fn is_identity(&self) -> bool {
        self.0.iter().all(|change| change.is_identity())
    }
}

/// Maps a random number to one below `bound`. Always uses one draw, unlike rand's ranges, which reject some draws to
/// remove a bias of 2⁻⁶⁴ · bound.
pub(crate) fn below(number: u64, bound: usize) -> usize {
    ((u128::from(number) * bound as u128) >> 64) as usize
}

#[cfg(test)]
mod reference_tests;

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 5;

    /// All bytes differ.
    fn image() -> Vec<u8> {
        (1..=(SIZE * SIZE * 3) as u8).collect()
    }

    fn augment(list: Value) -> Augment {
        serde_json::from_value(list).unwrap()
    }

    fn everything() -> Augment {
        augment(json!([{ "crop": { "padding": 4 } }, { "horizontal_flip": {} }, { "vertical_flip": {} }]))
    }

    fn applied(augment: &Augment, index: usize) -> Vec<u8> {
        augment.draw(3, 0, index).applied(&image(), SIZE, &mut Default::default()).to_vec()
    }

    fn pixel(image: &[u8], y: usize, x: usize) -> &[u8] {
        &image[(y * SIZE + x) * 3..][..3]
    }

    #[test]
    fn an_empty_list_changes_nothing() {
        assert!((0..20).all(|index| applied(&Augment::default(), index) == image()));
    }

    /// Digests from the version that had three switches and a single function.
    #[test]
    fn the_variants_have_not_changed() {
        let digest = |augment: &Augment| {
            let all: Vec<u8> = (0..50).flat_map(|index| applied(augment, index)).collect();
            blake3::hash(&all).to_hex()[..16].to_owned()
        };
        assert_eq!(digest(&everything()), "a4d9b2c0e7bd0a00");
        assert_eq!(digest(&augment(json!([{ "horizontal_flip": {} }]))), "64a0821f71e18832");
    }

    /// One transform of each kind with its defaults, and the most that their ranges allow.
    fn of_each_kind() -> Augment {
        let kinds = AugmentationSpec::KINDS.iter().map(|kind| json!({ *kind: {} }));
        let extremes = [
            json!({ "random_resized_crop": { "scale": [1e-4, 100.0], "ratio": [0.01, 100.0] } }),
            json!({ "random_erasing": { "probability": 1.0, "scale": [1e-4, 1.0], "ratio": [0.01, 100.0] } }),
            json!({ "affine": { "degrees": 180.0, "translate": 1.0, "scale": [0.01, 100.0], "shear": 89.0 } }),
            json!({ "color_jitter": { "brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.5 } }),
            json!({ "gaussian_blur": { "kernel_size": 99, "sigma": [1e-3, 1e3] } }),
            json!({ "rand_augment": { "operations": 14, "magnitude": 30 } }),
        ];
        augment(kinds.chain(extremes).collect())
    }

    #[test]
    fn every_kind_works_on_images_of_any_size_and_repeats_itself() {
        let augment = of_each_kind();
        let mut problems = Problems::default();
        augment.validate(&mut problems);
        assert!(problems.is_empty(), "{:?}", problems.into_list());
        for size in [1, 2, 3, 12] {
            let image: Vec<u8> = (0..size * size * 3).map(|i| (i * 37 % 256) as u8).collect();
            for index in 0..200 {
                let changed =
                    || augment.draw(5, 1, index).applied(&image, size, &mut Default::default()).to_vec();
                assert_eq!(changed(), changed());
            }
        }
    }

    #[test]
    fn flips_are_independent_and_have_probability_one_half() {
        let flips = augment(json!([{ "horizontal_flip": {} }, { "vertical_flip": {} }]));
        let image = image();
        let corners = [(0, 0), (0, SIZE - 1), (SIZE - 1, 0), (SIZE - 1, SIZE - 1)];
        let mut seen = [0; 4];
        for index in 0..2000 {
            let out = applied(&flips, index);
            let from = corners.iter().position(|&(y, x)| pixel(&image, y, x) == pixel(&out, 0, 0));
            seen[from.expect("a corner stays a corner")] += 1;
        }
        // 500 expected each; five standard deviations are 97
        assert!(seen.iter().all(|count| (403..=597).contains(count)), "{seen:?}");
    }

    #[test]
    fn flips_make_few_variants_and_crops_many() {
        let few = |list: Value, epochs| augment(list).distinct_variants(epochs);
        let flip = || json!([{ "horizontal_flip": {} }]);
        assert_eq!(few(json!([]), 7), Some(1.0));
        assert_eq!([few(flip(), 1), few(flip(), 2)], [Some(1.0), Some(1.5)]);
        let both = few(json!([{ "horizontal_flip": {} }, { "vertical_flip": {} }]), 100);
        assert!(both.is_some_and(|variants| (3.99..=4.0).contains(&variants)));
        assert_eq!(everything().distinct_variants(7), None);
    }

    #[test]
    fn every_crop_is_equally_likely() {
        let mut seen = [0; 5];
        for index in 0..5000 {
            seen[below(rng(1, Purpose::Augment, 0, index).next_u64(), 5)] += 1;
        }
        assert!(seen.iter().all(|count| (850..=1150).contains(count)), "{seen:?}");
    }

    #[test]
    fn a_transform_draws_the_same_numbers_independently_of_other_transforms() {
        let flip = augment(json!([{ "vertical_flip": {} }]));
        for index in 0..50 {
            assert_eq!(flip.draw(3, 0, index).key()[0], everything().draw(3, 0, index).key()[2]);
        }
    }

    #[test]
    fn mixes_are_drawn_for_a_batch_in_order_and_leave_the_images_changes_as_they_are() {
        let list = json!([{ "crop": { "padding": 4 } }, { "mixup": {} }, { "cutmix": {} }, { "mixup": {} }]);
        let (augment, crop) = (augment(list), augment(json!([{ "crop": { "padding": 4 } }])));
        let shares = |seed, epoch, batch| -> Vec<f64> {
            augment.mixes(seed, epoch, batch, SIZE).iter().map(|mix| mix.share()).collect()
        };
        let first = shares(3, 0, 0);
        assert_eq!(first, shares(3, 0, 0));
        assert!(first.len() == 3 && first[0] != first[2]);
        for other in [shares(4, 0, 0), shares(3, 1, 0), shares(3, 0, 1)] {
            assert_ne!(first, other);
        }
        assert!((0..50).all(|index| applied(&augment, index) == applied(&crop, index)));
        assert!(augment.mixes_batches() && !augment.has_few_variants());
        assert!(!crop.mixes_batches() && crop.mixes(3, 0, 0, SIZE).is_empty());
    }

    #[test]
    fn a_transform_of_images_after_one_of_batches_is_refused() {
        let mut problems = Problems::default();
        let list = json!([{ "cutmix": {} }, { "mixup": {} }, { "horizontal_flip": {} }]);
        augment(list).validate_together(&mut problems);
        let problems = problems.into_list();
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!(problem.path, "2.horizontal_flip");
        assert_eq!(problem.help.as_deref(), Some("move `horizontal_flip` before `cutmix`"));
    }

    #[test]
    fn lists_that_switches_could_express_keep_their_fingerprint() {
        let switches = json!({ "horizontal_flip": true, "vertical_flip": true, "crop_padding": 4 });
        assert_eq!(everything().options(), switches);
        let off = json!({ "horizontal_flip": false, "vertical_flip": false, "crop_padding": 0 });
        assert_eq!(Augment::default().options(), off);
        let other = json!([{ "horizontal_flip": {} }, { "crop": { "padding": 4 } }]);
        assert_eq!(augment(other.clone()).options(), other, "a crop after a flip");
        let twice = json!([{ "horizontal_flip": {} }, { "horizontal_flip": {} }]);
        assert_eq!(augment(twice.clone()).options(), twice);
    }
}
