//! What `medmerge data check` looks for in a data set: everything that is wrong or questionable, not only the first.
//!
//! | file | what |
//! |---|---|
//! | `identical` | images with the same content |
//! | `alike` | near duplicates in different splits |
//! | `moments` | mean and standard deviation of the training pixels |
//! | `sizes` | extents of image files |

mod alike;
mod identical;
mod moments;
mod sizes;

use std::path::PathBuf;

use rayon::prelude::*;
use serde::Serialize;

use super::image_files::Allowed;
use super::{Dataset, MultiLabelSummary, SplitName, Summary};

pub use self::alike::{MOST_BITS, MOST_IMAGES, MOST_LEVELS, NearDuplicates, Pair};
pub use self::moments::Moments;
pub use self::sizes::Sizes;

/// The folder for decoded images of a data set with this content digest.
pub type CacheFolder<'c> = dyn Fn(&str) -> PathBuf + 'c;

/// What was found in a data set.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Class names, indexed by label.
    pub classes: Vec<String>,
    /// Number of images known to have each class, per split: `counts[split][class]`.
    pub counts: [Vec<usize>; 3],
    /// Numbers of images, and of unknown labels, of a multi-label data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_label: Option<MultiLabelCounts>,
    /// Warnings about files, as sentences.
    pub warnings: Vec<String>,
    /// What is questionable about classes, as the ends of sentences that start with the data set's name.
    pub concerns: Vec<String>,
    /// Extents of the image files; `None` without image files that can be read.
    pub sizes: Option<Sizes>,
    /// One message for each image that cannot be read, in the order in which images are listed.
    pub damaged: Vec<String>,
    /// Groups of images with identical content, each of two or more.
    pub identical: Vec<Vec<NamedImage>>,
    /// Groups (patients, lesions) with images in several splits.
    pub shared_groups: Vec<SharedGroup>,
    /// Leaks that are allowed.
    pub allow: Vec<Allowed>,
    /// Near duplicates in different splits; `None` if they were not searched for, because images are damaged or there
    /// are more than [`MOST_IMAGES`].
    pub near_duplicates: Option<NearDuplicates>,
    /// Mean and standard deviation of the training pixels; `None` if there are none or images are damaged.
    pub moments: Option<Moments>,
}

/// Counts of a multi-label data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MultiLabelCounts {
    /// Number of images, per split.
    pub images: [usize; 3],
    /// Number of images of which it is unknown whether they have each class, per split.
    pub unknown: [Vec<usize>; 3],
}

impl From<MultiLabelSummary> for MultiLabelCounts {
    fn from(MultiLabelSummary { images, unknown, .. }: MultiLabelSummary) -> Self {
        Self { images, unknown }
    }
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NamedImage {
    /// Its split.
    pub split: SplitName,
    /// Its name in the data set.
    pub name: String,
}

/// A group with images in several splits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SharedGroup {
    /// Its name.
    pub group: String,
    /// The splits.
    pub splits: Vec<SplitName>,
    /// Number of its images.
    pub images: usize,
}

/// An image and the digest of its content. They are in the order of the splits and, within one, of [`Dataset`].
pub(crate) struct Content {
    pub(crate) image: NamedImage,
    pub(crate) hash: blake3::Hash,
}

impl Inspection {
    /// What is known before pixels are.
    pub(crate) fn new(summary: Summary, contents: &[Content]) -> Self {
        Self {
            concerns: summary.concerns(),
            classes: summary.classes,
            counts: summary.counts,
            multi_label: summary.multi_label.map(Into::into),
            warnings: summary.warnings,
            sizes: None,
            damaged: Vec::new(),
            identical: identical::groups(contents),
            shared_groups: Vec::new(),
            allow: Vec::new(),
            near_duplicates: None,
            moments: None,
        }
    }

    /// Of a data set without image files: images are identical if their pixels are.
    pub(crate) fn of_pixels(summary: Summary, dataset: &Dataset) -> Self {
        let contents: Vec<Content> =
            SplitName::ALL.into_iter().flat_map(|split| contents(dataset, split)).collect();
        let mut inspection = Self::new(summary, &contents);
        inspection.look_at(dataset, &contents);
        inspection
    }

    /// Adds what pixels show. `contents` are the images of all splits, in order.
    pub(crate) fn look_at(&mut self, dataset: &Dataset, contents: &[Content]) {
        self.near_duplicates = alike::search(dataset, contents);
        self.moments = Moments::of(&dataset.train.pixels);
    }

    /// The groups of identical images in one split, and those in several.
    pub fn within_and_across(&self) -> [Vec<&[NamedImage]>; 2] {
        let groups = self.identical.iter().map(Vec::as_slice);
        let (across, within) = groups.partition(|group| identical::is_across(group));
        [within, across]
    }

    /// Whether the data set has damaged images or leaks that are not allowed.
    pub fn is_wrong(&self) -> bool {
        let is_leak = |leak| !self.allow.contains(&leak);
        let [_, across] = self.within_and_across();
        !self.damaged.is_empty()
            || !across.is_empty() && is_leak(Allowed::IdenticalImages)
            || !self.shared_groups.is_empty() && is_leak(Allowed::SharedGroups)
    }
}

fn contents(dataset: &Dataset, split: SplitName) -> Vec<Content> {
    let images = dataset.split(split);
    let pixels = images.pixels.par_chunks_exact(dataset.size * dataset.size * 3);
    let content = |(pixels, name): (&[u8], &String)| Content {
        image: NamedImage { split, name: name.clone() },
        hash: blake3::hash(pixels),
    };
    pixels.zip(&images.names).map(content).collect()
}

#[cfg(test)]
mod tests;
