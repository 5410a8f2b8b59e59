//! A folder of JPEG and PNG images and a CSV `image,label,split[,group]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A folder and its CSV.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestSpec {
    /// The CSV; relative to the experiment file.
    #[serde(skip_serializing)]
    pub path: PathBuf,
    /// The folder that the image paths start from; the CSV's own if absent.
    #[serde(default, skip_serializing)]
    pub images: Option<PathBuf>,
    /// Side of the images in pixels.
    pub size: usize,
    /// Class names in the order of the logits; the CSV's labels, sorted, if absent.
    #[serde(default)]
    pub classes: Option<Vec<String>>,
}

impl super::Source for ManifestSpec {
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
