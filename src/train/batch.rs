//! Batches: the order of images, and their pixels as tensors.

use candle_core::{Device, Result, Tensor};
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::Augment;
use super::augmentation::Changes;
use dataset::Split;
use nn::Normalize;
use rng::{Purpose, rng};

/// The positions `0..n` in shuffled order for an epoch, in batches. A last batch of one image is dropped, since batch
/// norm cannot train on it.
pub fn shuffled(n: usize, batch_size: usize, seed: u64, purpose: Purpose, epoch: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(&mut rng(seed, purpose, epoch as u64, 0));
    order.chunks(batch_size).filter(|batch| batch.len() > 1).map(<[usize]>::to_vec).collect()
}

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
    /// Draws the changes of the image at a position.
    pub fn changes(&self, position: usize) -> Changes {
        self.augment.draw(self.seed, self.epoch, position)
    }
}

/// The images at `positions` of a split as a tensor `[n, size, size, 3]`, scaled by `normalize`; unaugmented, or a
/// random
/// `variant` of each.
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
    let table = normalize.table();
    let len = size * size * 3;
    let mut pixels = vec![0f32; positions.len() * len];
    pixels.par_chunks_mut(len).zip(positions).for_each_init(Default::default, |buffers, (to, &position)| {
        let mut from = &split.pixels[position * len..][..len];
        if let Some(variant) = variant {
            from = variant.changes(position).applied(from, size, buffers);
        }
        scale(from, &table, to);
    });
    Tensor::from_vec(pixels, (positions.len(), size, size, 3), device)
}

/// Whole images, RGB u8 `[n, size, size, 3]`, as a tensor of the same shape, scaled by `normalize`.
///
/// # Errors
/// candle cannot make the tensor.
pub fn scaled(pixels: &[u8], size: usize, normalize: &Normalize, device: &Device) -> Result<Tensor> {
    let table = normalize.table();
    let len = size * size * 3;
    let mut scaled = vec![0f32; pixels.len()];
    scaled.par_chunks_mut(len).zip(pixels.par_chunks(len)).for_each(|(to, from)| scale(from, &table, to));
    Tensor::from_vec(scaled, (pixels.len() / len, size, size, 3), device)
}

/// Looks up the pixels of an image, channel by channel.
fn scale(from: &[u8], table: &[[f32; 256]; 3], to: &mut [f32]) {
    for (to, from) in to.chunks_exact_mut(3).zip(from.chunks_exact(3)) {
        for channel in 0..3 {
            to[channel] = table[channel][usize::from(from[channel])];
        }
    }
}

/// Labels at `positions` of a split, u32 `[n]`.
///
/// # Errors
/// candle cannot make the tensor.
pub fn labels(split: &Split, positions: &[usize], device: &Device) -> Result<Tensor> {
    let labels: Vec<u32> = positions.iter().map(|&position| split.labels[position]).collect();
    Tensor::new(labels, device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_occurs_once_per_epoch_and_the_order_changes() {
        let flat = |epoch| shuffled(10, 4, 7, Purpose::Shuffle, epoch).concat();
        let mut first = flat(0);
        assert_ne!(first, flat(1));
        assert_eq!(first, flat(0));
        first.sort_unstable();
        assert_eq!(first, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_last_batch_of_one_image_is_dropped() {
        let batches = shuffled(9, 4, 0, Purpose::Shuffle, 0);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4]);
    }

    #[test]
    fn pixels_are_scaled_per_channel() {
        let normalize = Normalize { mean: [0.5, 0.0, 1.0], std: [0.5, 1.0, 2.0] };
        let split = Split {
            pixels: dataset::Pixels::Owned([255u8, 255, 0].into()),
            labels: vec![0],
            names: vec!["one".into()],
        };
        let tensor = images(&split, 1, &[0], &normalize, None, &Device::Cpu).unwrap();
        let elements = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(elements(tensor), [1.0, 1.0, -0.5]);
        assert_eq!(elements(scaled(&[255, 255, 0], 1, &normalize, &Device::Cpu).unwrap()), [1.0, 1.0, -0.5]);
    }
}
