//! Class probabilities of image files.

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Device;
use clap::ValueEnum;
use rayon::prelude::*;

use super::images::ImageFile;
use super::source::{Input, Source};
use crate::dataset::Labeling;
use crate::error::Error;
use crate::identity::Numerics;
use crate::merge_files::FileError;
use crate::model::inference::logits;
use crate::model::work::Network;
use crate::stage::{Checkpoint, ModelInfo};
use crate::train::{epoch::probability_rows, pixels};

/// Variants of an image whose probabilities are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Flips {
    /// The image alone
    #[default]
    None,
    /// The image and its mirror image
    Horizontal,
    /// These two, and both upside down
    Both,
}

impl Flips {
    /// (mirrored, upside down) of each variant.
    fn variants(self) -> &'static [(bool, bool)] {
        let all = &[(false, false), (true, false), (false, true), (true, true)];
        match self {
            Self::None => &all[..1],
            Self::Horizontal => &all[..2],
            Self::Both => all,
        }
    }
}

/// Bytes of a block: of pixels and of what the network computes from them.
const LARGEST_BLOCK: u64 = 1 << 30;

/// A model that predicts.
#[derive(Debug)]
pub struct Predictor<'a> {
    model: Checkpoint,
    input: Input,
    flips: Flips,
    device: Device,
    interrupt: &'a AtomicBool,
}

impl<'a> Predictor<'a> {
    /// A model on a device, with images of its own size unless asked for another one. A raised `interrupt` ends it.
    ///
    /// # Errors
    /// The model has no classifier, the size of its images is unknown, or the device is out of memory.
    pub fn new(
        source: &Source,
        size: Option<usize>,
        flips: Flips,
        device: Device,
        interrupt: &'a AtomicBool,
    ) -> Result<Self, Error> {
        source.head()?;
        let input = source.input(size)?;
        let tensors = source.tensors(&device).map_err(failed)?;
        let info = source.model.info.clone();
        Ok(Self { model: Checkpoint { info, tensors, history: Vec::new() }, input, flips, device, interrupt })
    }

    /// Whether an image has one of the classes or any number of them.
    pub fn labeling(&self) -> Labeling {
        self.model.info.labeling()
    }

    /// Class names, one per probability.
    pub fn classes(&self) -> &[String] {
        self.model.info.classes()
    }

    /// The largest number of images that take 1 GiB, from their pixels to their probabilities; at least one.
    pub fn most_in_a_block(&self) -> usize {
        most_in_a_block(&self.model.info, self.input.size)
    }

    /// Class probabilities of each image, or why it cannot be decoded. All images are in memory at the same time.
    ///
    /// # Errors
    /// A tensor operation failed, a probability is not finite, or the user interrupted.
    pub fn block(&self, images: &[ImageFile]) -> Result<Vec<Result<Vec<f32>, Error>>, Error> {
        let (pixels, decoded) = self.decode(images);
        if self.interrupt.load(Ordering::Relaxed) {
            return Err(FileError::Interrupted.into());
        }
        let mut rows = self.probabilities(&pixels).map_err(failed)?.into_iter();
        let mut row = |()| rows.next().expect("a row for each image that was decoded");
        let outcomes: Vec<_> = decoded.into_iter().map(|outcome| outcome.map(&mut row)).collect();
        let is_broken = |row: &Vec<f32>| row.iter().any(|p| !p.is_finite());
        match outcomes.iter().position(|outcome| outcome.as_ref().is_ok_and(is_broken)) {
            Some(i) => Err(Error::Predict(format!("the probabilities of {} are not finite", images[i].name))),
            None => Ok(outcomes),
        }
    }

    /// Pixels of the images that can be decoded, `[n, size, size, 3]`, and the outcome of each image.
    fn decode(&self, images: &[ImageFile]) -> (Vec<u8>, Vec<Result<(), Error>>) {
        let len = self.input.size * self.input.size * 3;
        let mut pixels = vec![0; images.len() * len];
        let decode = |(image, out): (&ImageFile, &mut [u8])| match self.interrupt.load(Ordering::Relaxed) {
            true => Err(FileError::Interrupted.into()),
            false => match self.input.pixels.read(&image.path, self.input.size) {
                Ok(pixels) => {
                    out.copy_from_slice(&pixels);
                    Ok(())
                }
                Err(message) => Err(image.error(message)),
            },
        };
        let decoded: Vec<_> = images.par_iter().zip(pixels.par_chunks_exact_mut(len)).map(decode).collect();
        let mut kept = 0;
        for from in (0..images.len()).filter(|&i| decoded[i].is_ok()) {
            pixels.copy_within(from * len..(from + 1) * len, kept * len);
            kept += 1;
        }
        pixels.truncate(kept * len);
        (pixels, decoded)
    }

    /// Mean of the probabilities of all variants, one row per image.
    fn probabilities(&self, pixels: &[u8]) -> candle_core::Result<Vec<Vec<f32>>> {
        if pixels.is_empty() {
            return Ok(Vec::new());
        }
        let variants = self.flips.variants();
        let mut sum = self.of_variant(pixels)?;
        for &variant in &variants[1..] {
            let rows = self.of_variant(&flipped(pixels, self.input.size, variant))?;
            sum.iter_mut().flatten().zip(rows.iter().flatten()).for_each(|(sum, p)| *sum += p);
        }
        sum.iter_mut().flatten().for_each(|sum| *sum /= variants.len() as f32);
        Ok(sum)
    }

    fn of_variant(&self, images: &[u8]) -> candle_core::Result<Vec<Vec<f32>>> {
        let images = pixels::scaled(images, self.input.size, &self.model.info.normalize, &self.device)?;
        probability_rows(self.labeling(), &[logits(&self.model, images)?])
    }
}

fn most_in_a_block(info: &ModelInfo, size: usize) -> usize {
    let numerics = Numerics::Cpu; // the same for one image on any device
    let inference = Network::new(&info.backbone, info.classes().len(), size, numerics).inference(1);
    // The pixels as bytes, and those of a variant.
    let pixels = 2 * 3 * (size * size) as u64;
    (LARGEST_BLOCK / (inference + pixels)).max(1) as usize
}

fn failed(error: candle_core::Error) -> Error {
    Error::Predict(error.to_string())
}

/// Images `[n, size, size, 3]`, mirrored and turned upside down.
fn flipped(pixels: &[u8], size: usize, (mirrored, upside_down): (bool, bool)) -> Vec<u8> {
    let mut flipped = vec![0; pixels.len()];
    let (line, image) = (3 * size, 3 * size * size);
    flipped.par_chunks_exact_mut(line).enumerate().for_each(|(i, to)| {
        let (start, y) = (i / size * image, i % size);
        let y = if upside_down { size - 1 - y } else { y };
        let from = &pixels[start + y * line..][..line];
        for (x, to) in to.chunks_exact_mut(3).enumerate() {
            let x = if mirrored { size - 1 - x } else { x };
            to.copy_from_slice(&from[3 * x..][..3]);
        }
    });
    flipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_bounded_by_what_the_network_computes() {
        let most = |backbone: &str, size| {
            let normalize = serde_json::json!({ "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0] });
            let backbone: serde_json::Value = serde_json::from_str(backbone).unwrap();
            let info = serde_json::json!({ "backbone": backbone, "normalize": normalize, "head": null });
            most_in_a_block(&serde_json::from_value(info).unwrap(), size)
        };
        assert_eq!(most(r#"{"resnet50": {}}"#, 4096), 1);
        assert!(most(r#"{"resnet50": {}}"#, 224) >= 32, "the default is not cut");
        // A channel of the widest layer takes 4 bytes for each of 64 x 64 pixels.
        let small = most(r#"{"resnet18": {"stem": "small"}}"#, 64);
        assert!((100..1024).contains(&small), "{small} of 64 x 64 x 64 x 4 bytes");
    }

    #[test]
    fn pixels_move_and_channels_stay() {
        let pixels: Vec<u8> = (0..24).collect();
        let red =
            |variant| flipped(&pixels, 2, variant).chunks(3).map(|pixel| pixel[0] / 3).collect::<Vec<_>>();
        assert_eq!(red((false, false)), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(red((true, false)), [1, 0, 3, 2, 5, 4, 7, 6]);
        assert_eq!(red((false, true)), [2, 3, 0, 1, 6, 7, 4, 5]);
        assert_eq!(red((true, true)), [3, 2, 1, 0, 7, 6, 5, 4]);
        assert_eq!(flipped(&pixels, 2, (true, false))[..6], [3, 4, 5, 0, 1, 2]);
    }
}
