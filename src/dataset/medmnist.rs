//! A MedMNIST `.npz` file (deflated or stored, grey or RGB).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A MedMNIST file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MedmnistSpec {
    /// The `.npz` file; relative to the experiment file.
    #[serde(skip_serializing)]
    pub path: PathBuf,
    /// Side of the images in pixels; the file's own if absent.
    #[serde(default)]
    pub size: Option<usize>,
    /// Class names in the order of the labels; `0`, `1`, … if absent.
    #[serde(default)]
    pub classes: Option<Vec<String>>,
}

impl super::Source for MedmnistSpec {
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
