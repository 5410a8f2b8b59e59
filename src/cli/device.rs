//! `--device` and `--precision`.

use std::str::FromStr;

use candle_core::Device;
use clap::{Args, ValueEnum};

use crate::doctor::Tolerance;
use crate::error::Error;
use crate::identity::Numerics;
use crate::identity::Precision;
use crate::nn::set_precision;
use crate::run::executor::{WorkerDevice, Workers, this_program};

/// What `--device` says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum DeviceChoice {
    /// The processor.
    Cpu,
    /// The GPUs of these indices, at least one.
    Cuda(Vec<usize>),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let indices = match text.split_once(':') {
            None if text == "cpu" => return Ok(Self::Cpu),
            None if text == "cuda" => Some(vec![0]),
            Some(("cuda", indices)) => indices.split(',').map(|index| index.parse().ok()).collect(),
            _ => None,
        };
        indices
            .map(Self::Cuda)
            .ok_or_else(|| "write cpu, cuda, cuda:<index> or cuda:<index>,<index>".to_owned())
    }
}

impl DeviceChoice {
    /// # Errors
    /// There is no such GPU, or the program was built without CUDA.
    fn open(&self) -> Result<Device, Error> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(indices) => Self::open_gpu(indices[0]),
        }
    }

    /// With one stream for all threads. `Device::new_cuda` gives each thread a stream of its own, and nothing makes one
    /// wait for what another one computes: a checkpoint that one thread reads would be used by the next before it is
    /// there.
    fn open_gpu(index: usize) -> Result<Device, Error> {
        Device::new_cuda_with_stream(index).map_err(|error| {
            Error::Usage(format!("failed to open the GPU {index}: {error}; run with --device cpu"))
        })
    }

    /// Where workers run, one after the other.
    fn workers(&self) -> Vec<WorkerDevice> {
        match self {
            Self::Cpu => vec![WorkerDevice::Cpu],
            Self::Cuda(indices) => {
                let visible = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
                indices.iter().map(|&index| WorkerDevice::Cuda(gpu_name(index, &visible))).collect()
            }
        }
    }
}

/// What a worker calls a GPU that this process, which sees only those of `visible`, calls by its index.
fn gpu_name(index: usize, visible: &str) -> String {
    let named = visible.split(',').map(str::trim).filter(|name| !name.is_empty()).nth(index);
    named.map_or_else(|| index.to_string(), str::to_owned)
}

/// Where stages run: results from a CPU and from a GPU are different results.
#[derive(Clone, Debug, Args)]
pub(super) struct OnDevice {
    /// Where stages run: cpu, cuda, cuda:<index>, or several GPUs: cuda:0,1
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
    pub(super) fn numerics(&self) -> Numerics {
        match &self.device {
            DeviceChoice::Cpu => Numerics::Cpu,
            DeviceChoice::Cuda(_) => Numerics::Cuda(self.precision.precision()),
        }
    }

    /// How far results of this precision may be from exact ones.
    pub(super) fn tolerance(&self) -> Tolerance {
        match self.precision {
            PrecisionChoice::F32 => Tolerance::default(),
            PrecisionChoice::Tf32 => Tolerance { logits: 1e-2, gradients: 0.3 },
            PrecisionChoice::Bf16 => Tolerance { logits: 0.1, gradients: 0.7 },
        }
    }

    /// The device, with the process set to the precision.
    ///
    /// # Errors
    /// There is no such GPU, the program was built without CUDA, or a CPU is asked for another precision.
    pub(super) fn open(&self) -> Result<Device, Error> {
        self.check_precision()?;
        set_precision(self.precision.precision());
        self.device.open()
    }

    /// How workers are started. GPUs are left to them: this process takes none of their memory.
    ///
    /// # Errors
    /// As of [`OnDevice::open`], as far as it can be known.
    pub(super) fn workers(&self) -> Result<Workers, Error> {
        self.check_precision()?;
        if !cfg!(feature = "cuda") {
            self.device.open()?;
        }
        let program = this_program()
            .map_err(|error| Error::Usage(format!("failed to find this program's file: {error}")))?;
        let precision = self.precision.to_possible_value().expect("no precision is hidden");
        let arguments = vec!["--precision".into(), precision.get_name().into()];
        Ok(Workers { program, arguments, devices: self.device.workers() })
    }

    fn check_precision(&self) -> Result<(), Error> {
        if self.device == DeviceChoice::Cpu && self.precision != PrecisionChoice::F32 {
            return Err(Error::Usage(
                "a CPU computes with f32; leave out --precision, or run on --device cuda".into(),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_written_as_in_pytorch() {
        let gpus = |indices: &[usize]| DeviceChoice::Cuda(indices.to_vec());
        let parsed: [DeviceChoice; 4] =
            ["cpu", "cuda", "cuda:3", "cuda:0,2"].map(|text| text.parse().unwrap());
        assert_eq!(parsed, [DeviceChoice::Cpu, gpus(&[0]), gpus(&[3]), gpus(&[0, 2])]);
        for wrong in ["", "gpu", "cpu:0", "cuda:", "cuda:-1", "cuda:0,"] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_worker_sees_the_gpu_that_is_meant() {
        assert_eq!(gpu_name(1, ""), "1");
        assert_eq!(gpu_name(1, "4, GPU-7a"), "GPU-7a");
    }
}
