//! `--device`, `--precision` and `--graphs`.

use std::path::PathBuf;
use std::str::FromStr;

use candle_core::Device;
use clap::{Args, ValueEnum};

use super::cuda_worker;
use crate::doctor::Tolerance;
use crate::error::Error;
use crate::identity::Numerics;
use crate::identity::Precision;
use crate::nn::{cuda, set_precision};
use crate::run::executor::{WorkerDevice, Workers, this_program};

/// The value of `--device`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum DeviceChoice {
    /// The CPU.
    Cpu,
    /// GPUs with these indices, at least one.
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
            .ok_or_else(|| "use cpu, cuda, cuda:<index> or cuda:<index>,<index>".to_owned())
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

    fn open_gpu(index: usize) -> Result<Device, Error> {
        if !cfg!(feature = "cuda") {
            return Err(Error::Usage(cuda_worker::no_gpu()));
        }
        cuda::open(index).map_err(|error| {
            Error::Usage(format!("failed to open GPU {index}: {error}; run with --device cpu"))
        })
    }

    /// Devices of workers, in turn.
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

/// A worker's name for a GPU that this process, which sees only those in `visible`, identifies by index.
fn gpu_name(index: usize, visible: &str) -> String {
    let named = visible.split(',').map(str::trim).filter(|name| !name.is_empty()).nth(index);
    named.map_or_else(|| index.to_string(), str::to_owned)
}

/// Options for the device: results from a CPU and a GPU are different results.
#[derive(Clone, Debug, Args)]
pub(super) struct OnDevice {
    /// Device to run stages on: cpu, cuda, cuda:<index>, or several GPUs: cuda:0,1
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    device: DeviceChoice,
    /// Precision of products on a GPU
    #[arg(long, value_enum, default_value_t = PrecisionChoice::F32, value_name = "PRECISION")]
    precision: PrecisionChoice,
}

/// An option that changes no result.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Graphs {
    /// Replay training steps on a GPU as CUDA graphs, where that is possible: not measured yet
    #[arg(long)]
    graphs: bool,
}

impl Graphs {
    pub(super) fn are_asked_for(self) -> bool {
        self.graphs
    }

    /// Workers that do so.
    pub(super) fn of(self, mut workers: Workers) -> Workers {
        workers.arguments.extend(self.graphs.then(|| "--graphs".into()));
        workers
    }
}

/// The value of `--precision`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PrecisionChoice {
    /// 23-bit mantissa, as on a CPU
    F32,
    /// 10-bit mantissa for the factors of all products, on tensor cores: faster
    Tf32,
    /// 7-bit mantissa for activations, on tensor cores: fastest
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
    /// Numerics as in fingerprints.
    pub(super) fn numerics(&self) -> Numerics {
        match &self.device {
            DeviceChoice::Cpu => Numerics::Cpu,
            DeviceChoice::Cuda(_) => Numerics::Cuda(self.precision.precision()),
        }
    }

    /// Whether it is a GPU.
    pub(super) fn is_gpu(&self) -> bool {
        self.device != DeviceChoice::Cpu
    }

    /// Tolerance of results at this precision.
    pub(super) fn tolerance(&self) -> Tolerance {
        match self.precision {
            PrecisionChoice::F32 => Tolerance::default(),
            PrecisionChoice::Tf32 => Tolerance { logits: 1e-2, gradients: 0.3 },
            PrecisionChoice::Bf16 => Tolerance { logits: 0.1, gradients: 0.7 },
        }
    }

    /// Open the device, and set the process to the precision.
    ///
    /// # Errors
    /// There is no such GPU, the program was built without CUDA, or a precision other than f32 is requested on a CPU.
    pub(super) fn open(&self) -> Result<Device, Error> {
        self.check_precision()?;
        set_precision(self.precision.precision());
        self.device.open()
    }

    /// How to start workers. This process uses no GPU memory, which is left to them.
    ///
    /// # Errors
    /// As for [`OnDevice::open`], as far as can be checked here.
    pub(super) fn workers(&self) -> Result<Workers, Error> {
        self.check_precision()?;
        let program = self.program()?;
        let precision = self.precision.to_possible_value().expect("no precision is hidden");
        let arguments = vec!["--precision".into(), precision.get_name().into()];
        Ok(Workers { program, arguments, devices: self.device.workers() })
    }

    /// The program of workers: this one, or without CUDA the one that has it.
    fn program(&self) -> Result<PathBuf, Error> {
        if self.device != DeviceChoice::Cpu && !cfg!(feature = "cuda") {
            return cuda_worker::find();
        }
        this_program().map_err(|error| Error::Usage(format!("failed to find the executable: {error}")))
    }

    fn check_precision(&self) -> Result<(), Error> {
        if self.device == DeviceChoice::Cpu && self.precision != PrecisionChoice::F32 {
            return Err(Error::Usage("a CPU computes in f32; omit --precision, or use --device cuda".into()));
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
