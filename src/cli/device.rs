//! `--device`.

use std::str::FromStr;

use candle_core::Device;

use crate::error::Error;
use crate::plan::Numerics;

/// What `--device` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeviceChoice {
    /// The processor.
    Cpu,
    /// The GPU of this index.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let index = match text.split_once(':') {
            None if text == "cpu" => return Ok(Self::Cpu),
            None if text == "cuda" => Some(0),
            Some(("cuda", index)) => index.parse().ok(),
            _ => None,
        };
        index.map(Self::Cuda).ok_or_else(|| "write cpu, cuda or cuda:<index>".to_owned())
    }
}

impl DeviceChoice {
    /// What fingerprints know of it.
    pub(super) fn numerics(self) -> Numerics {
        match self {
            Self::Cpu => Numerics::Cpu,
            Self::Cuda(_) => Numerics::Cuda,
        }
    }

    /// # Errors
    /// There is no such GPU, or the program was built without CUDA.
    pub(super) fn open(self) -> Result<Device, Error> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(index) => Device::new_cuda(index).map_err(|error| {
                Error::Usage(format!("failed to open the GPU {index}: {error}; run with --device cpu"))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_written_as_in_pytorch() {
        let parsed: [DeviceChoice; 3] = ["cpu", "cuda", "cuda:3"].map(|text| text.parse().unwrap());
        assert_eq!(parsed, [DeviceChoice::Cpu, DeviceChoice::Cuda(0), DeviceChoice::Cuda(3)]);
        for wrong in ["", "gpu", "cpu:0", "cuda:", "cuda:-1"] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
    }
}
