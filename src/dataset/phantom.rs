//! Procedural images that imitate modalities. Synthetic: for trying the software, not for science.

use serde::{Deserialize, Serialize};

/// A family of procedural images and how many of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhantomSpec {
    /// What the images imitate.
    pub family: Family,
    /// Side of the images in pixels.
    #[serde(default = "default_size")]
    pub size: usize,
    /// Training images.
    #[serde(default = "default_count")]
    pub train: usize,
    /// Validation images.
    #[serde(default = "default_count")]
    pub val: usize,
    /// Test images.
    #[serde(default = "default_count")]
    pub test: usize,
    /// Other seeds give other images of the same family.
    #[serde(default)]
    pub seed: u64,
}

/// What phantom images imitate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Stained cells under a microscope.
    Cells,
    /// The back of an eye.
    Fundus,
    /// Skin lesions.
    Lesions,
    /// Chest X-rays.
    Xray,
}

fn default_size() -> usize {
    28
}

fn default_count() -> usize {
    200
}

impl super::Source for PhantomSpec {
    fn revision(&self) -> u32 {
        1
    }
    fn size(&self) -> usize {
        unimplemented!()
    }
    fn files(&self) -> Vec<std::path::PathBuf> {
        unimplemented!()
    }
    fn summary(&self) -> Result<super::Summary, super::DataError> {
        unimplemented!()
    }
    fn load(&self, _cache: Option<&std::path::Path>) -> Result<super::Dataset, super::DataError> {
        unimplemented!()
    }
}
