//! Data sets: the section `[dataset.<name>.<kind>]`, and how images are read.
//!
//! To add one: a file here with a spec that implements [`DatasetKind`], a `mod` line and a line in [`DatasetSpec`]. The
//! layout of its files is a page in `layout/`, which is the file's documentation and the schema's `x-layout`.
//!
//! A kind reads labels and names, passes a function that decodes one image to `cache`, which calls it in parallel and
//! caches the pixels, and combines the three in `assemble`. `image` decodes and resizes as [`pixels`] says. [`labels`]
//! then drops training images outside the label budget, for every kind.
//!
//! [`inspect`] finds everything that is wrong or questionable in a data set, [`sheet`] draws some of its images.
//!
//! A kind that reads image files only lists them with their labels, in [`ImageFiles::list`](image_files::ImageFiles);
//! [`image_files`] does the rest, and [`split`] splits them.

pub mod aptos2019;
mod assemble;
mod cache;
pub mod chexpert;
pub mod cifar;
mod concerns;
pub mod error;
pub mod eyepacs;
pub mod folder;
pub mod idx;
mod image;
pub mod image_files;
pub mod inspect;
mod isic;
pub mod isic2018;
pub mod isic2019;
pub mod labels;
pub mod manifest;
pub mod medmnist;
mod natural;
mod npz;
pub mod phantom;
pub mod pixels;
mod retinopathy;
pub mod rsna_pneumonia;
pub mod sheet;
pub mod split;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kind::{Kind, kinds};
use serde::{Deserialize, Serialize};

pub use cache::is_intact;
pub use error::DataError;
pub use inspect::Inspection;
pub use labels::LabelBudget;
pub use metric::{Labeling, Labels, MultiLabels, State};
pub use pixels::PixelSpec;

kinds! {
    /// The section of a data set in the experiment file. The kind is the key.
    pub enum DatasetSpec: DatasetKind {
        Phantom(phantom::PhantomSpec),
        Medmnist(medmnist::MedmnistSpec),
        Manifest(manifest::ManifestSpec),
        Folder(folder::FolderSpec),
        Isic2018(isic2018::Isic2018Spec),
        Isic2019(isic2019::Isic2019Spec),
        Aptos2019(aptos2019::Aptos2019Spec),
        Eyepacs(eyepacs::EyepacsSpec),
        Chexpert(chexpert::ChexpertSpec),
        RsnaPneumonia(rsna_pneumonia::RsnaPneumoniaSpec),
        Idx(idx::IdxSpec),
        Cifar(cifar::CifarSpec),
    }
}

/// What every kind of data set implements.
///
/// Options that change pixels or labels enter the fingerprint. Paths do not: the content of the files enters through
/// the digest in [`DatasetKind::summary`].
pub trait DatasetKind: Kind {
    /// Revision of the implementation; increase it when the same files and options give different pixels, labels or
    /// splits.
    fn revision(&self) -> u32;

    /// Side of the square images in pixels, after resizing; 0 if it is the original side and the file cannot be read,
    /// in which case [`DatasetKind::summary`] returns the error.
    fn size(&self) -> usize;

    /// Side in pixels at which training images are kept, if it is larger than their size.
    fn cache_size(&self) -> Option<usize> {
        None
    }

    /// How image files become pixels; `None` for a kind that reads none.
    fn pixels(&self) -> Option<&PixelSpec> {
        None
    }

    /// The files of the data set, for messages and freshness; empty for procedural images.
    fn files(&self) -> Vec<PathBuf>;

    /// Classes, counts and content digest. Images are not decoded, except those whose range of levels is in question.
    ///
    /// # Errors
    /// A file is missing, truncated or malformed; the message names file and row.
    fn summary(&self) -> Result<Summary, DataError>;

    /// Everything that is wrong or questionable, and what the pixels are like. `cache` names the folder for decoded
    /// images of a content digest.
    ///
    /// # Errors
    /// The data set cannot be used, for another reason than damaged images or leaks.
    fn inspect(&self, cache: &inspect::CacheFolder<'_>) -> Result<Inspection, DataError> {
        let summary = self.summary()?;
        let dataset = self.load(Some(&cache(&summary.digest)))?;
        Ok(Inspection::of_pixels(summary, &dataset))
    }

    /// A CSV `image,label,split,group` of all images, sorted by image, as the split kind `file` reads it; `None` for a
    /// kind without the key `split`.
    ///
    /// # Errors
    /// A file is missing or malformed.
    fn split_csv(&self) -> Result<Option<Vec<u8>>, DataError> {
        Ok(None)
    }

    /// The group (patient, lesion) of each image of a split that has one, by the image's name; `None` if no image has
    /// one. No image is read.
    ///
    /// # Errors
    /// A file is missing or malformed.
    fn groups(&self, split: SplitName) -> Result<Option<HashMap<String, String>>, DataError> {
        let _ = split;
        Ok(None)
    }

    /// All images of all splits, decoded and resized.
    ///
    /// `cache` is a folder, private to this content and size, for decoded images that are kept between runs and
    /// memory-mapped (`None`: no caching).
    ///
    /// # Errors
    /// A file is missing, truncated or malformed, an image cannot be decoded, or a label is out of range.
    fn load(&self, cache: Option<&Path>) -> Result<Dataset, DataError>;
}

/// Description of a data set, available without decoding images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Class names, indexed by label.
    pub classes: Vec<String>,
    /// Number of images known to have each class, per split: `counts[split][class]`, in the order of
    /// [`SplitName::ALL`].
    pub counts: [Vec<usize>; 3],
    /// What more is known of a multi-label data set; `None` if each image has one class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multi_label: Option<MultiLabelSummary>,
    /// blake3 of the content in hexadecimal: stored pixels, labels and splits; not paths or times.
    pub digest: String,
    /// Warnings about questionable but usable files, as sentences; see [`Summary::concerns`] for those about classes.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Leaks between splits that the experiment allows, as sentences without an end; tables mention them.
    #[serde(default)]
    pub caveats: Vec<String>,
    /// Position and label of each training image, by group, groups in the order of their first image; the label is 0 in
    /// a multi-label data set. `None` without groups.
    #[serde(default)]
    pub train_groups: Option<Vec<Vec<(u32, u32)>>>,
}

/// What is known of a multi-label data set beside the numbers of images known to have each class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultiLabelSummary {
    /// Number of images, per split.
    pub images: [usize; 3],
    /// Number of images of which it is unknown whether they have each class, per split.
    pub unknown: [Vec<usize>; 3],
    /// Labels of the training images, some of which a label budget keeps.
    pub train: MultiLabels,
}

impl Summary {
    /// How images are labeled.
    pub fn labeling(&self) -> Labeling {
        self.multi_label.as_ref().map_or(Labeling::SingleLabel, |_| Labeling::MultiLabel)
    }

    /// Number of images of a split.
    pub fn images(&self, split: SplitName) -> usize {
        let own = || self.counts[split as usize].iter().sum();
        self.multi_label.as_ref().map_or_else(own, |summary| summary.images[split as usize])
    }
}

/// A split of a data set.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SplitName {
    /// Training images.
    Train,
    /// Validation images, for choosing the best epoch or a hyperparameter.
    Val,
    /// Test images, for reported scores.
    #[default]
    Test,
}

impl SplitName {
    /// All splits, in the order in which they are stored.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// Name in files: `train`, `val`, `test`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

/// A data set in memory.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Class names, indexed by label.
    pub classes: Vec<String>,
    /// Side of the square images in pixels, as networks see them. Training images may be larger: see [`Split::side`].
    pub size: usize,
    /// How image files became pixels; `None` if none were read.
    pub pixels: Option<PixelSpec>,
    /// Training images.
    pub train: Split,
    /// Validation images.
    pub val: Split,
    /// Test images, for reported scores.
    pub test: Split,
}

impl Dataset {
    /// How images are labeled.
    pub fn labeling(&self) -> Labeling {
        self.train.labels.labeling()
    }

    /// One of the three splits.
    pub fn split(&self, name: SplitName) -> &Split {
        match name {
            SplitName::Train => &self.train,
            SplitName::Val => &self.val,
            SplitName::Test => &self.test,
        }
    }
}

/// The images of one split.
#[derive(Clone, Debug)]
pub struct Split {
    /// RGB, u8, `[n, side, side, 3]`, row-major.
    pub pixels: Pixels,
    /// Labels of the images: classes below the number of classes, or a state for each class.
    pub labels: Labels,
    /// Name of each image: a path inside the data set, or `<split>/<position>`.
    pub names: Vec<String>,
    /// Number of the group (patient, lesion) of each image, groups in the order of their first image; `None` without
    /// groups.
    pub groups: Option<Vec<u32>>,
}

impl Split {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Side of its square images in pixels: that of the data set, unless training images are kept larger; 0 without
    /// images.
    pub fn side(&self) -> usize {
        (self.pixels.len() / 3).checked_div(self.len()).unwrap_or(0).isqrt()
    }

    /// Bytes of each of its images.
    pub fn image_bytes(&self) -> usize {
        3 * self.side() * self.side()
    }

    /// Whether the split has no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// Decoded pixels: owned, or part of a memory-mapped file; cheap to clone.
#[derive(Clone, Debug)]
pub enum Pixels {
    /// Owned bytes.
    Owned(Arc<[u8]>),
    /// `range` of a mapped file.
    Mapped(Arc<memmap2::Mmap>, std::ops::Range<usize>),
}

impl std::ops::Deref for Pixels {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Mapped(map, range) => &map[range.clone()],
        }
    }
}
