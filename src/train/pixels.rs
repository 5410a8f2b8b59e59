//! Pixels of images as tensors: augmented, normalized, on a device.

use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use super::Augment;
use super::augmentation::Changes;
use super::augmentation::mixing::{Mix, mix_images};
use dataset::Split;
use nn::{Normalize, cuda};

/// Random variants of images: for one seed and one epoch.
#[derive(Clone, Copy)]
pub struct Variant<'a> {
    /// The transforms.
    pub augment: &'a Augment,
    /// The stage's seed.
    pub seed: u64,
    /// Epoch, from 0.
    pub epoch: usize,
}

impl Variant<'_> {
    /// Draws the changes of an image, given its [draw](super::sampling).
    pub fn changes(&self, draw: usize) -> Changes {
        self.augment.draw(self.seed, self.epoch, draw)
    }
}

/// The images at `positions` of a split as a tensor `[n, size, size, 3]`, scaled by `normalize`; unaugmented, or a
/// random `variant` of each. Positions may be [draws](super::sampling).
///
/// # Errors
/// candle cannot make the tensor.
pub fn images(
    split: &Split,
    size: usize,
    positions: &[usize],
    normalize: &Normalize,
    variant: Option<Variant<'_>>,
    device: &Device,
) -> Result<Tensor> {
    Images::draw(split, size, positions, normalize, variant, &[], device).on(device)
}

/// Images that were drawn on the host.
pub(super) struct Images {
    size: usize,
    normalize: Normalize,
    pixels: Pixels,
}

enum Pixels {
    /// Normalized as each image is drawn.
    Normalized(Vec<f32>),
    /// As bytes: a quarter as much to upload. A GPU normalizes them, to the same bits.
    Levels(Vec<u8>),
}

impl Images {
    /// Draws images for a device, and mixes them.
    pub(super) fn draw(
        split: &Split,
        size: usize,
        draws: &[usize],
        normalize: &Normalize,
        variant: Option<Variant<'_>>,
        mixes: &[Box<dyn Mix>],
        device: &Device,
    ) -> Self {
        // what is mixed is between levels
        let pixels = if mixes.is_empty() && cuda::serves_on(device) {
            Pixels::Levels(drawn(split, size, draws, variant, |from, to: &mut [u8]| to.copy_from_slice(from)))
        } else {
            let table = normalize.table();
            let mut pixels = drawn(split, size, draws, variant, |from, to| scale(from, &table, to));
            mixes.iter().for_each(|mix| mix_images(&**mix, &mut pixels, size));
            Pixels::Normalized(pixels)
        };
        Self { size, normalize: *normalize, pixels }
    }

    /// As a tensor `[n, size, size, 3]`.
    pub(super) fn on(self, device: &Device) -> Result<Tensor> {
        let dims = |elements: usize| (elements / (self.size * self.size * 3), self.size, self.size, 3);
        match self.pixels {
            Pixels::Normalized(pixels) => {
                let dims = dims(pixels.len());
                Tensor::from_vec(pixels, dims, device)
            }
            Pixels::Levels(levels) => cuda::normalized(&levels, dims(levels.len()), &self.normalize, device),
        }
    }
}

/// All pixels of images, each written by `write`.
fn drawn<T: Clone + Default + Send>(
    split: &Split,
    size: usize,
    draws: &[usize],
    variant: Option<Variant<'_>>,
    write: impl Fn(&[u8], &mut [T]) + Sync,
) -> Vec<T> {
    let (len, from_len) = (size * size * 3, split.image_bytes());
    let mut pixels = vec![T::default(); draws.len() * len];
    pixels.par_chunks_mut(len).zip(draws).for_each_init(Default::default, |buffers, (to, &draw)| {
        let from = &split.pixels[draw % split.len() * from_len..][..from_len];
        let changes = variant.map_or_else(Changes::default, |variant| variant.changes(draw));
        write(changes.applied(from, size, buffers), to);
    });
    pixels
}

/// Whole images, RGB u8 `[n, size, size, 3]`, as a tensor of the same shape, scaled by `normalize`.
///
/// # Errors
/// candle cannot make the tensor.
pub fn scaled(pixels: &[u8], size: usize, normalize: &Normalize, device: &Device) -> Result<Tensor> {
    let len = size * size * 3;
    let dims = (pixels.len() / len, size, size, 3);
    if cuda::serves_on(device) {
        return cuda::normalized(pixels, dims, normalize, device);
    }
    let table = normalize.table();
    let mut scaled = vec![0f32; pixels.len()];
    scaled.par_chunks_mut(len).zip(pixels.par_chunks(len)).for_each(|(to, from)| scale(from, &table, to));
    Tensor::from_vec(scaled, dims, device)
}

/// Looks up the pixels of an image, channel by channel.
fn scale(from: &[u8], table: &[[f32; 256]; 3], to: &mut [f32]) {
    for (to, from) in to.chunks_exact_mut(3).zip(from.chunks_exact(3)) {
        for channel in 0..3 {
            to[channel] = table[channel][usize::from(from[channel])];
        }
    }
}

#[cfg(test)]
mod tests {
    use nn::testing::{as_on_a_gpu, launches};

    use super::*;

    fn one_image() -> Split {
        Split {
            pixels: dataset::Pixels::Owned([255u8, 255, 0].into()),
            labels: vec![0].into(),
            names: vec!["one".into()],
            groups: None,
        }
    }

    #[test]
    fn pixels_are_scaled_per_channel() {
        let normalize = Normalize { mean: [0.5, 0.0, 1.0], std: [0.5, 1.0, 2.0] };
        let tensor = images(&one_image(), 1, &[0], &normalize, None, &Device::Cpu).unwrap();
        let elements = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(elements(tensor), [1.0, 1.0, -0.5]);
        assert_eq!(elements(scaled(&[255, 255, 0], 1, &normalize, &Device::Cpu).unwrap()), [1.0, 1.0, -0.5]);
    }

    #[test]
    fn repeated_draws_are_the_same_image_with_other_transforms() {
        let split =
            Split { pixels: dataset::Pixels::Owned((0..75).collect::<Vec<u8>>().into()), ..one_image() };
        let augment: Augment = serde_json::from_value(serde_json::json!([{ "crop": {} }])).unwrap();
        let variant = Variant { augment: &augment, seed: 1, epoch: 0 };
        let draws: Vec<usize> = (0..20).collect();
        let levels =
            |variant| drawn(&split, 5, &draws, variant, |from, to: &mut [u8]| to.copy_from_slice(from));
        let plain = levels(None);
        assert!(plain.chunks(75).all(|image| *image == plain[..75]));
        let changed = levels(Some(variant));
        assert!(changed.chunks(75).any(|image| *image != changed[..75]));
    }

    #[test]
    fn a_gpu_normalizes_to_the_same_bits() {
        let bits = |images: Tensor| {
            let elements = images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            elements.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let levels: Vec<u8> = (0..=255u8).flat_map(|level| [level, 255 - level, level ^ 85]).collect();
        let split = Split { pixels: dataset::Pixels::Owned(levels.clone().into()), ..one_image() };
        let imagenet = Normalize { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
        for normalize in [Normalize::default(), imagenet] {
            let made = || images(&split, 16, &[0, 0, 0], &normalize, None, &Device::Cpu).unwrap();
            let expected = bits(made());
            let before = launches();
            assert_eq!(bits(as_on_a_gpu(made)), expected);
            let whole = as_on_a_gpu(|| scaled(&levels, 16, &normalize, &Device::Cpu)).unwrap();
            assert_eq!(bits(whole), expected[..768]);
            assert_eq!(launches() - before, 2);
        }
    }
}
