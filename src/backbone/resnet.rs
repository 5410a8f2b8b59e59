//! ResNet (He et al. 2016, arXiv 1512.03385), with torchvision's names.

use serde::{Deserialize, Serialize};

/// Options of a ResNet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResnetSpec {
    /// The first layers.
    pub stem: Stem,
    /// Channels of the first block; 64 in the paper.
    pub width: usize,
}

impl Default for ResnetSpec {
    fn default() -> Self {
        Self { stem: Stem::Standard, width: 64 }
    }
}

/// The first layers of a ResNet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// 7x7 stride 2, then 3x3 max-pool stride 2: for images of 64 pixels and more.
    #[default]
    Standard,
    /// 3x3 stride 1 and no pool, as for CIFAR: for small images.
    Small,
}
