//! Which split an image belongs to: the key `split` of data sets of image files.
//!
//! To add one: a file here with a spec that implements [`SplitKind`], a `mod` line and a line in [`SplitSpec`].
//!
//! `strata` assigns groups of images by class.

pub mod file;
pub mod folds;
pub mod official;
pub mod random;
mod strata;

use std::path::Path;

use kind::{Kind, kinds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image_files::Listed;
use super::{DataError, SplitName};

pub use file::FileSplitSpec;
pub use folds::FoldsSplitSpec;
pub use official::OfficialSplitSpec;
pub use random::RandomSplitSpec;

kinds! {
    /// How images are split into training, validation and test. The kind is the key.
    pub enum SplitSpec: SplitKind {
        Official(OfficialSplitSpec),
        Random(RandomSplitSpec),
        Folds(FoldsSplitSpec),
        File(FileSplitSpec),
    }
}

impl Default for SplitSpec {
    fn default() -> Self {
        Self::Official(OfficialSplitSpec::default())
    }
}

/// What every kind of split implements.
pub trait SplitKind: Kind {
    /// The split of each image; `None` for images that are left out. `list` is the file or folder that lists the
    /// images, for messages. Images are sorted by name; all images of a group get the same split, unless a file says
    /// otherwise.
    ///
    /// # Errors
    /// A file is missing or malformed, or an image has no split.
    fn assign(&self, list: &Path, images: &[Listed]) -> Result<Vec<Option<SplitName>>, DataError>;

    /// The files that it reads.
    fn files(&self) -> Vec<&Path> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
