//! What a loss compares logits with.

use candle_core::{Device, Result, Tensor};

/// What is known of the classes of a batch of images.
#[derive(Clone, Debug)]
pub enum Targets {
    /// The class of each image, u32 `[n]`.
    Classes(Tensor),
    /// The probability of each class of each image, `[n, classes]`: of mixed images.
    Probabilities(Tensor),
    /// Of a multi-label data set, how much each class counts as present and as absent, both `[n, classes]`: 1 and 0 or
    /// 0 and 1 where the label is known, 0 and 0 where it is unknown, and means of these for mixed images.
    Labels {
        /// How much each class counts as present.
        present: Tensor,
        /// How much each class counts as absent.
        absent: Tensor,
    },
}

impl Targets {
    /// The same on a device.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(match self {
            Self::Classes(classes) => Self::Classes(classes.to_device(device)?),
            Self::Probabilities(probabilities) => Self::Probabilities(probabilities.to_device(device)?),
            Self::Labels { present, absent } => {
                Self::Labels { present: present.to_device(device)?, absent: absent.to_device(device)? }
            }
        })
    }

    /// The device of its tensors.
    pub fn device(&self) -> &Device {
        let (Self::Classes(tensor) | Self::Probabilities(tensor) | Self::Labels { present: tensor, .. }) =
            self;
        tensor.device()
    }
}
