//! A folder of CIFAR's binary batches, read by candle-datasets.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A folder of natural images for pretraining.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CifarSpec {
    /// The folder; relative to the experiment file.
    #[serde(skip_serializing)]
    pub path: PathBuf,
    /// Side of the images in pixels; the files' own if absent.
    #[serde(default)]
    pub size: Option<usize>,
    /// Share of the training images that is set aside for validation.
    #[serde(default = "tenth")]
    pub val_fraction: f64,
}

fn tenth() -> f64 {
    0.1
}

impl super::Source for CifarSpec {
    fn revision(&self) -> u32 {
        1
    }
    fn size(&self) -> usize {
        unimplemented!()
    }
    fn files(&self) -> Vec<PathBuf> {
        unimplemented!()
    }
    fn summary(&self) -> Result<super::Summary, super::DataError> {
        unimplemented!()
    }
    fn load(&self, _cache: Option<&std::path::Path>) -> Result<super::Dataset, super::DataError> {
        unimplemented!()
    }
}
