//! Data sets: the section `[dataset.<name>.<kind>]`, and how images are read.
//!
//! To add one: a file here with a spec that implements [`DatasetKind`], a `mod` line and a line in [`DatasetSpec`].
//!
//! A kind reads labels and names, passes a function that decodes one image to `cache`, which calls it in parallel and
//! caches the pixels, and combines the three in `assemble`. `image` decodes and resizes. [`labels`] then drops training
//! images outside the label budget, for every kind.

mod assemble;
mod cache;
pub mod cifar;
mod concerns;
pub mod error;
pub mod idx;
mod image;
pub mod labels;
pub mod manifest;
pub mod medmnist;
mod natural;
mod npz;
pub mod phantom;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kind::{Kind, kinds};
use serde::{Deserialize, Serialize};

pub use cache::is_intact;
pub use error::DataError;
pub use labels::LabelBudget;

kinds! {
    /// The section of a data set in the experiment file. The kind is the key.
    pub enum DatasetSpec: DatasetKind {
        Phantom(phantom::PhantomSpec),
        Medmnist(medmnist::MedmnistSpec),
        Manifest(manifest::ManifestSpec),
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

    /// The files of the data set, for messages and freshness; empty for procedural images.
    fn files(&self) -> Vec<PathBuf>;

    /// Classes, counts and content digest. Images are not decoded, except those whose range of levels is in question.
    ///
    /// # Errors
    /// A file is missing, truncated or malformed; the message names file and row.
    fn summary(&self) -> Result<Summary, DataError>;

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
    /// Number of images of each class, per split: `counts[split][class]`, in the order of [`SplitName::ALL`].
    pub counts: [Vec<usize>; 3],
    /// blake3 of the content in hexadecimal: stored pixels, labels and splits; not paths or times.
    pub digest: String,
    /// Warnings about questionable but usable files, as sentences; see [`Summary::concerns`] for those about classes.
    #[serde(default)]
    pub warnings: Vec<String>,
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
    /// Side of the square images in pixels.
    pub size: usize,
    /// Training images.
    pub train: Split,
    /// Validation images.
    pub val: Split,
    /// Test images, for reported scores.
    pub test: Split,
}

impl Dataset {
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
    /// RGB, u8, `[n, size, size, 3]`, row-major.
    pub pixels: Pixels,
    /// Label of each image, below the number of classes.
    pub labels: Vec<u32>,
    /// Name of each image: a path inside the data set, or `<split>/<position>`.
    pub names: Vec<String>,
}

impl Split {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
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
