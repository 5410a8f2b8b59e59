//! Random changes of training images, on u8 pixels before they become tensors.

use serde::{Deserialize, Serialize};

/// Random changes of the training images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentSpec {
    /// Mirror left and right, half of the time.
    pub horizontal_flip: bool,
    /// Mirror top and bottom, half of the time.
    pub vertical_flip: bool,
    /// Pad by so many black pixels on each side, then crop to the old size at a random place.
    pub crop_padding: usize,
}
