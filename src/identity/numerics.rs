//! Device class and precision, which determine how operations round.

use std::borrow::Cow;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The number type of products on a GPU. Parameters, statistics, sums and losses stay f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Precision {
    /// f32 throughout.
    #[default]
    F32,
    /// TF32: operands of all matrix products and convolutions are rounded to 10 fraction bits, for tensor cores.
    Tf32,
    /// Activations are bf16 (7 fraction bits) from the first convolution to the features.
    Bf16,
}

/// Device class and precision: the same operations may round differently from one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numerics {
    /// Any CPU, f32.
    Cpu,
    /// Any CUDA device, with products in this precision.
    Cuda(Precision),
}

impl Numerics {
    /// Every combination of device class and precision.
    pub const ALL: [Self; 4] =
        [Self::Cpu, Self::Cuda(Precision::F32), Self::Cuda(Precision::Tf32), Self::Cuda(Precision::Bf16)];

    /// As it enters the fingerprint. Raise the number behind a device class when its operators round in another way.
    pub fn in_fingerprint(self) -> &'static str {
        match self {
            Self::Cpu => "cpu-f32",
            Self::Cuda(Precision::F32) => "cuda-f32 2",
            Self::Cuda(Precision::Tf32) => "cuda-tf32 2",
            Self::Cuda(Precision::Bf16) => "cuda-bf16 2",
        }
    }

    /// `cpu-f32`, `cuda-f32`, `cuda-tf32`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu-f32",
            Self::Cuda(Precision::F32) => "cuda-f32",
            Self::Cuda(Precision::Tf32) => "cuda-tf32",
            Self::Cuda(Precision::Bf16) => "cuda-bf16",
        }
    }
}

/// As [`Numerics::as_str`].
impl Serialize for Numerics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Numerics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let found = Self::ALL.into_iter().find(|numerics| numerics.as_str() == text);
        found.ok_or_else(|| D::Error::custom(format!("unknown numerics {text:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerics_are_read_as_they_are_written() {
        for numerics in Numerics::ALL {
            let json = serde_json::to_string(&numerics).unwrap();
            assert_eq!(serde_json::from_str::<Numerics>(&json).unwrap(), numerics);
        }
        assert!(serde_json::from_str::<Numerics>("\"tpu-f32\"").is_err());
    }
}
