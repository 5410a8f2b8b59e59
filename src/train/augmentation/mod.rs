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
//! | `warp`, `resize`, `color`, `operation` | what transforms share: affine maps, sizes, colors, the policies' operations |
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
mod resize;
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
use self::resize::resize;
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

    /// Whether it first cuts a part out of the image and resizes it, so that larger images give sharper parts.
    fn cuts_first(&self) -> bool {
        false
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

    /// The same for a larger image, `[side, side, 3]`, which is reduced to `size`.
    fn reduce(&self, image: &[u8], side: usize, size: usize, out: &mut [u8]) {
        let mut reduced = vec![0; out.len()];
        resize(image, side, [0..side, 0..side], size, &mut reduced);
        self.apply(&reduced, size, out);
    }

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

    /// Checks that the transforms fit images with this side in pixels, of which those for training may be kept larger.
    ///
    /// # Errors
    /// Messages that say what to change.
    pub fn fits(&self, size: usize, cache_size: Option<usize>) -> Result<(), Vec<String>> {
        let misfits = self.0.iter().filter_map(|transform| transform.misfit(size));
        let of_cache = cache_size.and_then(|side| self.misfit_of_cache(side));
        let misfits: Vec<String> = misfits.chain(of_cache).collect();
        if misfits.is_empty() { Ok(()) } else { Err(misfits) }
    }

    /// Why it does not fit training images that are kept at a side of `cache_size` pixels.
    fn misfit_of_cache(&self, cache_size: usize) -> Option<String> {
        let first = self.0.iter().position(|kind| kind.cuts_first()).filter(|&first| first > 0)?;
        let kind = self.0[first].kind();
        Some(format!(
            "`cache_size = {cache_size}` needs `{kind}` first in `augment`: behind other transforms, it would cut its \
             parts from images of `size` pixels; move it to the front"
        ))
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

/// The changes drawn for one image, one per transform of a list; none by default.
#[derive(Default)]
pub struct Changes(Vec<Box<dyn Change>>);

impl Changes {
    /// Applies the changes to a square RGB image; the result is `[size, size, 3]`. Of a larger image, the first change
    /// makes one of that size. `buffers` hold the result unless it is unchanged.
    ///
    /// # Panics
    /// If the length of `image` is not that of a square.
    pub fn applied<'b>(&self, image: &'b [u8], size: usize, buffers: &'b mut [Vec<u8>; 2]) -> &'b [u8] {
        let side = (image.len() / 3).isqrt();
        assert_eq!(image.len(), side * side * 3, "not a square RGB image");
        let [current, next] = buffers;
        let (mut changes, mut is_changed) = (self.0.iter(), side != size);
        if is_changed {
            current.resize(size * size * 3, 0);
            match changes.next() {
                Some(first) => first.reduce(image, side, size, current),
                None => resize(image, side, [0..side, 0..side], size, current),
            }
        }
        for change in changes.filter(|change| !change.is_identity()) {
            next.resize(size * size * 3, 0);
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

    fn reduce(&self, image: &[u8], _: usize, size: usize, out: &mut [u8]) {
        self.apply(image, size, out);
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
mod tests;
