#![doc = include_str!("../layout/phantom.md")]
//!
//! Difficulty, as macro F1 on 600 test images of a ResNet-18 of width 16 at 28 px (20 epochs on 200 images, mean of two
//! seeds; 8 epochs on 2,000 images, one seed):
//!
//! | family | 200 images | 200, pretrained on 1,500 of another family | 2,000 images |
//! |---|---|---|---|
//! | cells | 0.41 | 0.79 (lesions) | 0.94 |
//! | fundus | 0.27 | 0.42 (cells) | 0.72 |
//! | lesions | 0.46 | 0.67 (cells) | 0.91 |
//! | xray | 0.46 | 0.63 (lesions) | 0.84 |
//!
//! Image `i` of a split is a pure function of family, seed, split and `i`. To add a family: a file here with
//! `CLASSES` and `draw`, a variant of [`Family`] and its arms.

mod canvas;
mod cells;
mod dice;
mod fundus;
mod lesions;
mod shape;
mod xray;

use std::path::{Path, PathBuf};

use identity::Identity;
use kind::{Kind, Problems};
use rand::Rng;
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::canvas::Canvas;
use self::dice::Dice;
use super::assemble::{PerSplit, check_size, numbered_names, validate_size, wrong_size};
use super::cache::{self, Layout};
use super::{DataError, Dataset, DatasetKind, SplitName, Summary};
use rng::{Purpose, rng};

/// The smallest side in pixels; smaller images would show nothing.
const SMALLEST: usize = 8;

/// The maximum number of images in a split.
const MOST_IMAGES: usize = 1_000_000;

/// Procedural images of one family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-layout" = include_str!("../layout/phantom.md")))]
pub struct PhantomSpec {
    /// Modality that the images imitate.
    pub family: Family,
    /// Side of the images in pixels, 8 to 4096.
    #[serde(default = "default_size")]
    pub size: usize,
    /// Number of training images, from 1 to 1,000,000.
    #[serde(default = "default_count")]
    pub train: usize,
    /// Number of validation images, from 1 to 1,000,000.
    #[serde(default = "default_count")]
    pub val: usize,
    /// Number of test images, from 1 to 1,000,000.
    #[serde(default = "default_count")]
    pub test: usize,
    /// Seed of the images and labels.
    #[serde(default)]
    pub seed: u64,
}

/// Modality that phantom images imitate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Stained white blood cells under a microscope; lobes of the nucleus and granules determine four types.
    Cells,
    /// The back of an eye; number and kind of lesions determine five grades.
    Fundus,
    /// Skin lesions; symmetry, border and inner structure determine five types.
    Lesions,
    /// Chest X-rays; extent and shape of the opacities in the lungs determine three classes.
    Xray,
}

impl Family {
    /// Class names in the order of the labels.
    pub fn classes(self) -> &'static [&'static str] {
        match self {
            Self::Cells => &cells::CLASSES,
            Self::Fundus => &fundus::CLASSES,
            Self::Lesions => &lesions::CLASSES,
            Self::Xray => &xray::CLASSES,
        }
    }

    fn draw(self, class: usize, side: usize, dice: &mut Dice) -> Canvas {
        match self {
            Self::Cells => cells::draw(class, side, dice),
            Self::Fundus => fundus::draw(class, side, dice),
            Self::Lesions => lesions::draw(class, side, dice),
            Self::Xray => xray::draw(class, side, dice),
        }
    }
}

fn default_size() -> usize {
    28
}

fn default_count() -> usize {
    200
}

impl Identity for PhantomSpec {}

impl Kind for PhantomSpec {
    fn validate(&self, problems: &mut Problems) {
        validate_size(problems, "size", self.size);
        problems.up_to("train", self.train, MOST_IMAGES);
        problems.up_to("val", self.val, MOST_IMAGES);
        problems.up_to("test", self.test, MOST_IMAGES);
    }
}

impl DatasetKind for PhantomSpec {
    fn revision(&self) -> u32 {
        1
    }

    fn size(&self) -> usize {
        self.size
    }

    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn summary(&self) -> Result<Summary, DataError> {
        self.check()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"phantom").update(&[self.family as u8]);
        let numbers = [u64::from(self.revision()), self.size as u64, self.seed];
        for number in numbers.into_iter().chain(self.counts().map(|count| count as u64)) {
            hasher.update(&number.to_le_bytes());
        }
        Ok(Summary::new(self.classes(), self.labels(), hasher.finalize()))
    }

    /// Draws the images. Drawing is as fast as reading, so nothing is cached.
    fn load(&self, _cache: Option<&Path>) -> Result<Dataset, DataError> {
        self.check()?;
        let (labels, counts) = (self.labels(), self.counts());
        let layout = Layout { revision: self.revision(), sides: [self.size; 3], counts };
        let pixels = cache::pixels(None, layout, |sink| {
            SplitName::ALL.into_iter().try_for_each(|split| {
                let labels = &labels[split as usize];
                sink.draw(labels.len(), &|index, out| {
                    self.draw(split, index, labels[index] as usize, out);
                    Ok(())
                })
            })
        })?;
        Ok(Dataset::new(self.classes(), self.size, labels, numbered_names(counts), pixels))
    }
}

impl PhantomSpec {
    fn check(&self) -> Result<(), DataError> {
        let path = Path::new("phantom");
        if self.size < SMALLEST { Err(wrong_size(path, self.size)) } else { check_size(path, self.size) }
    }

    fn classes(&self) -> Vec<String> {
        self.family.classes().iter().map(|&name| name.into()).collect()
    }

    fn counts(&self) -> PerSplit<usize> {
        [self.train, self.val, self.test]
    }

    /// Labels, drawn independently of the pixels. The first images of a split show every class once, in random order;
    /// the rest are uniform.
    fn labels(&self) -> PerSplit<Vec<u32>> {
        let classes = self.family.classes().len() as u32;
        SplitName::ALL.map(|split| {
            let mut rng = rng(self.seed, Purpose::Phantom, self.stream(split), u64::MAX);
            let mut labels: Vec<u32> = (0..classes).collect();
            labels.shuffle(&mut rng);
            let count = self.counts()[split as usize];
            labels.extend((labels.len()..count).map(|_| rng.random_range(0..classes)));
            labels.truncate(count);
            labels
        })
    }

    fn draw(&self, split: SplitName, index: usize, class: usize, out: &mut [u8]) {
        let mut dice = Dice::new(rng(self.seed, Purpose::Phantom, self.stream(split), index as u64));
        self.family.draw(class, self.size, &mut dice).write_rgb(out);
    }

    /// Index of a split among the splits of all families, so that no two share random numbers.
    fn stream(&self, split: SplitName) -> u64 {
        self.family as u64 * 3 + split as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILIES: [Family; 4] = [Family::Cells, Family::Fundus, Family::Lesions, Family::Xray];

    fn spec(family: Family) -> PhantomSpec {
        PhantomSpec { family, size: 28, train: 40, val: 7, test: 3, seed: 5 }
    }

    #[test]
    fn every_class_is_in_every_split_that_is_large_enough() {
        for family in FAMILIES {
            let summary = spec(family).summary().unwrap();
            assert!(summary.counts[..2].iter().flatten().all(|&count| count > 0), "{family:?}");
            let counts = summary.counts.map(|counts| counts.iter().sum::<usize>());
            assert_eq!(counts, [40, 7, 3]);
        }
    }

    #[test]
    fn labels_of_the_summary_are_those_of_the_images() {
        let spec = spec(Family::Lesions);
        let (summary, data) = (spec.summary().unwrap(), spec.load(None).unwrap());
        for split in SplitName::ALL {
            let labels = data.split(split).labels.single().unwrap();
            for (class, &count) in summary.counts[split as usize].iter().enumerate() {
                assert_eq!(labels.iter().filter(|&&label| label as usize == class).count(), count);
            }
        }
        assert_eq!(data.val.names[6], "val/6");
    }

    #[test]
    fn the_same_spec_draws_the_same_images_on_any_number_of_threads() {
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        for family in FAMILIES {
            let data = spec(family).load(None).unwrap();
            let again = one.install(|| spec(family).load(None).unwrap());
            assert_eq!(data.train.pixels[..], again.train.pixels[..]);
            let more = PhantomSpec { train: 50, ..spec(family) }.load(None).unwrap();
            assert_eq!(data.train.pixels[..], more.train.pixels[..data.train.pixels.len()]);
        }
    }

    #[test]
    fn seeds_and_splits_draw_different_images() {
        let data = spec(Family::Cells).load(None).unwrap();
        let other = PhantomSpec { seed: 6, ..spec(Family::Cells) };
        assert_ne!(data.test.pixels[..], other.load(None).unwrap().test.pixels[..]);
        assert_ne!(data.test.pixels[..], data.train.pixels[..data.test.pixels.len()]);
        assert_ne!(spec(Family::Cells).summary().unwrap().digest, other.summary().unwrap().digest);
    }

    #[test]
    fn images_use_the_range_of_levels_at_every_size() {
        for family in FAMILIES {
            for size in [8, 28, 96] {
                let data = PhantomSpec { size, ..spec(family) }.load(None).unwrap();
                let levels = data.train.pixels.iter();
                let (low, high) = (levels.clone().min().unwrap(), levels.max().unwrap());
                assert!(*low < 60 && *high > 180, "{family:?} at {size}: {low} to {high}");
            }
        }
    }

    #[test]
    fn a_size_that_shows_nothing_is_rejected() {
        let error = PhantomSpec { size: 4, ..spec(Family::Xray) }.load(None).unwrap_err();
        assert_eq!(error.to_string(), "phantom: `size` must be 8 to 4096 pixels, not 4");
    }

    #[test]
    fn f20_counts_and_sizes_beyond_their_limits_are_reported_at_their_keys() {
        let mut problems = Problems::default();
        let huge = PhantomSpec { train: usize::MAX, val: 1_000_001, size: 4097, ..spec(Family::Cells) };
        huge.validate(&mut problems);
        let messages: Vec<_> = problems.into_list().into_iter().map(|problem| problem.message).collect();
        let expected = [
            "`size` must be 8 to 4096 pixels, not 4097".to_owned(),
            format!("`train` must be 1 to 1000000, not {}", usize::MAX),
            "`val` must be 1 to 1000000, not 1000001".to_owned(),
        ];
        assert_eq!(messages, expected);
    }
}
