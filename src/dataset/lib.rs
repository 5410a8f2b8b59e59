//! Data sets: what a `[dataset.<name>.<kind>]` section describes and how its images are read.
//!
//! To add one: a file here with a spec that implements [`DatasetKind`], a `mod` line and a line in [`DatasetSpec`].
//!
//! A kind reads labels and names, hands a function that makes one image to `cache`, which calls it in
//! parallel and keeps the pixels, and joins the three in `assemble`. `image` decodes and resizes. [`labels`] then
//! leaves out what a data set's label budget does not pay for, whatever the kind.

mod assemble;
mod cache;
pub mod cifar;
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
    /// A data set's section in the experiment file. The kind is the key.
    pub enum DatasetSpec: DatasetKind {
        Phantom(phantom::PhantomSpec),
        Medmnist(medmnist::MedmnistSpec),
        Manifest(manifest::ManifestSpec),
        Idx(idx::IdxSpec),
        Cifar(cifar::CifarSpec),
    }
}

/// What every kind of data set can do.
///
/// Options that change the pixels or labels enter the fingerprint; paths are left out: the content of the files
/// enters, by the digest of [`DatasetKind::summary`].
pub trait DatasetKind: Kind {
    /// Raise when the same files and options give other pixels, labels or splits.
    fn revision(&self) -> u32;

    /// Side of the square images in pixels, after resizing; 0 if it is the file's own and the file cannot be
    /// read, which [`DatasetKind::summary`] then explains.
    fn size(&self) -> usize;

    /// The files it is made of, for messages and freshness; empty for procedural images.
    fn files(&self) -> Vec<PathBuf>;

    /// Classes, counts and the content's digest, without decoding images.
    ///
    /// # Errors
    /// A missing or malformed file; the message names file and row.
    fn summary(&self) -> Result<Summary, DataError>;

    /// Every image of every split, decoded and resized.
    ///
    /// `cache` is a folder private to this content and size in which decoded images may be kept between
    /// runs and memory-mapped (`None`: keep nothing).
    ///
    /// # Errors
    /// A missing, truncated or malformed file, an image that is none, a label out of range.
    fn load(&self, cache: Option<&Path>) -> Result<Dataset, DataError>;
}

/// What can be said of a data set without decoding an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Class names; a label is an index into them.
    pub classes: Vec<String>,
    /// Images of each class, per split: `counts[split][class]`, in the order of [`SplitName::ALL`].
    pub counts: [Vec<usize>; 3],
    /// blake3 of the content in hexadecimal: pixels as stored, labels, splits; no paths, no times.
    pub digest: String,
    /// What is doubtful about it, though it can be used; sentences for a person.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A part of a data set.
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
    /// Images to learn from.
    Train,
    /// Images to choose by: the best epoch, a hyper-parameter.
    Val,
    /// Images to report on.
    #[default]
    Test,
}

impl SplitName {
    /// In the order in which they are stored.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// As it is written in files: `train`, `val`, `test`.
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
    /// Class names; a label is an index into them.
    pub classes: Vec<String>,
    /// Side of the square images in pixels.
    pub size: usize,
    /// Images to learn from.
    pub train: Split,
    /// Images to choose by.
    pub val: Split,
    /// Images to report on.
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
    /// RGB, u8, `[n, size, size, 3]` row after row.
    pub pixels: Pixels,
    /// One label an image, each below the number of classes.
    pub labels: Vec<u32>,
    /// One name an image: a path inside the data set, or `<split>/<position>`.
    pub names: Vec<String>,
}

impl Split {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// Decoded pixels: owned, or a part of a memory-mapped file; cheap to clone.
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
