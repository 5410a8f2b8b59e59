//! `--device` and `--precision`.

use std::str::FromStr;

use candle_core::Device;
use clap::{Args, ValueEnum};

use crate::doctor::Tolerance;
use crate::error::Error;
use crate::nn::{Precision, set_precision};
use crate::plan::Numerics;

/// What `--device` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeviceChoice {
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
    /// # Errors
    /// There is no such GPU, or the program was built without CUDA.
    fn open(self) -> Result<Device, Error> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(index) => Device::new_cuda(index).map_err(|error| {
                Error::Usage(format!("failed to open the GPU {index}: {error}; run with --device cpu"))
            }),
        }
    }
}

/// Where stages run: results from a CPU and from a GPU are different results.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct OnDevice {
    /// Where stages run: cpu, cuda or cuda:<index>
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    device: DeviceChoice,
    /// Numbers that are multiplied on a GPU
    #[arg(long, value_enum, default_value_t = PrecisionChoice::F32, value_name = "PRECISION")]
    precision: PrecisionChoice,
}

/// What `--precision` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PrecisionChoice {
    /// 23 bits after the point, as on a CPU
    F32,
    /// Factors of all products of 10 bits, by tensor cores: faster
    Tf32,
    /// Factors and results of convolutions and linear layers of 7 bits, by tensor cores: fastest
    Bf16,
}

impl PrecisionChoice {
    fn precision(self) -> Precision {
        match self {
            Self::F32 => Precision::F32,
            Self::Tf32 => Precision::Tf32,
            Self::Bf16 => Precision::Bf16,
        }
    }
}

impl OnDevice {
    /// What fingerprints know of it.
    pub(super) fn numerics(self) -> Numerics {
        match self.device {
            DeviceChoice::Cpu => Numerics::Cpu,
            DeviceChoice::Cuda(_) => Numerics::Cuda(self.precision.precision()),
        }
    }

    /// How far results of this precision may be from exact ones.
    pub(super) fn tolerance(self) -> Tolerance {
        match self.precision {
            PrecisionChoice::F32 => Tolerance::default(),
            PrecisionChoice::Tf32 => Tolerance { logits: 2e-2, gradients: 0.3 },
            PrecisionChoice::Bf16 => Tolerance { logits: 0.15, gradients: 0.7 },
        }
    }

    /// The device, with the process set to the precision.
    ///
    /// # Errors
    /// There is no such GPU, the program was built without CUDA, or a CPU is asked for another precision.
    pub(super) fn open(self) -> Result<Device, Error> {
        if self.device == DeviceChoice::Cpu && self.precision != PrecisionChoice::F32 {
            return Err(Error::Usage(
                "a CPU computes with f32; leave out --precision, or run on --device cuda".into(),
            ));
        }
        set_precision(self.precision.precision());
        self.device.open()
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
