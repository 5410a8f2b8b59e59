//! Checks a device: training steps on it are compared with the same steps in f64 on the CPU.

mod replayed;

use std::time::Instant;

use candle_core::{DType, Device, Result, Tensor, Var};
use rand::Rng;

use crate::backbone::densenet::DensenetSpec;
use crate::backbone::resnet::{ResnetSpec, Stem};
use crate::backbone::vit::VitSpec;
use crate::backbone::{Backbone, BackboneSpec};
use crate::nn::init::initial_values;
use crate::nn::{Mode, Net, StateDict, Value, Values, gradients, leaves};
use crate::rng::{Purpose, rng};
use crate::train::loss::CrossEntropy;
use crate::train::optimizer::{Optimizer, OptimizerSpec};
use crate::train::{ClassCounts, Loss, LossSpec, Targets};

pub use replayed::{Replayed, examine_replays};

/// Classes of the synthetic task.
const CLASSES: usize = 7;

/// One network, its optimizer, and one batch of random images, to step with again and again.
pub struct Workload {
    backbone: Box<dyn Backbone>,
    tensors: StateDict,
    variables: Vec<(String, Var)>,
    optimizer: Optimizer,
    loss: Box<dyn Loss>,
    images: Value,
    labels: Targets,
}

impl Workload {
    /// A network with its usual initialization and `batch` images of `size` pixels, all from fixed seeds.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn new(
        spec: &BackboneSpec,
        size: usize,
        batch: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let backbone = spec.build();
        let parameters = backbone.all_parameters(Some(CLASSES));
        let mut tensors = initial_values(&parameters, 0, device)?;
        for tensor in tensors.values_mut().filter(|tensor| tensor.dtype() == DType::F32) {
            *tensor = tensor.to_dtype(dtype)?;
        }
        let mut variables = Vec::new();
        for parameter in parameters.into_iter().filter(|parameter| parameter.is_trainable()) {
            let var = Var::from_tensor(&tensors[&parameter.name])?;
            tensors.insert(parameter.name.clone(), var.as_tensor().clone());
            variables.push((parameter.name, var));
        }
        let optimizer = Optimizer::new(&OptimizerSpec::default(), variables.clone());
        let optimizer = optimizer.map_err(|error| candle_core::Error::Msg(error.to_string()))?;
        let mut random = rng(0, Purpose::Init, 0, 0);
        let pixels: Vec<f32> = (0..batch * size * size * 3).map(|_| random.random_range(-1.0..1.0)).collect();
        let labels: Vec<u32> = (0..batch).map(|_| random.random_range(0..CLASSES as u32)).collect();
        let images = Tensor::from_vec(pixels, (batch, size, size, 3), device)?.to_dtype(dtype)?;
        Ok(Self {
            backbone,
            tensors,
            variables,
            optimizer,
            loss: LossSpec::default().build(&ClassCounts::single_label(&[1; CLASSES]), device)?,
            images: Value::constant(images),
            labels: Targets::Classes(Tensor::new(labels, device)?),
        })
    }

    /// Logits in training mode, and the leaves of their tape.
    fn forward(&self) -> Result<(Value, Values)> {
        let leaves = leaves(&self.tensors, self.variables.iter().map(|(name, _)| name));
        let net = Net::with_values(&self.tensors, leaves.clone(), Mode::Train);
        Ok((self.backbone.logits(&net, &self.images, CLASSES)?, leaves))
    }

    /// Images, labels and what the loss reads.
    fn inputs(&self) -> Vec<Tensor> {
        let mut inputs = vec![self.images.tensor().clone()];
        if let Targets::Classes(classes) = &self.labels {
            inputs.push(classes.clone());
        }
        inputs.extend(self.loss.capturable().into_iter().flat_map(CrossEntropy::tensors));
        inputs
    }

    /// Logits in training mode, and the gradient of every parameter.
    ///
    /// # Errors
    /// A tensor operation failed.
    pub fn gradients(&self) -> Result<(Tensor, StateDict)> {
        let (logits, leaves) = self.forward()?;
        let narrow = logits.tensor().to_dtype(DType::F32)?;
        let (_, of_logits) = self.loss.with_gradient(&narrow, &self.labels)?;
        let gradients = gradients(&logits, of_logits.to_dtype(logits.tensor().dtype())?, &leaves)?;
        Ok((logits.tensor().clone(), gradients))
    }

    /// A complete training step.
    ///
    /// # Errors
    /// A tensor operation failed, or a parameter has no gradient.
    pub fn train(&mut self) -> Result<()> {
        let (_, gradients) = self.gradients()?;
        let step = self.optimizer.step(&gradients, 1.0, None);
        step.map_err(|error| candle_core::Error::Msg(error.to_string()))
    }

    /// Logits in evaluation mode.
    ///
    /// # Errors
    /// A tensor operation failed.
    pub fn evaluate(&self) -> Result<Tensor> {
        let net = Net::new(&self.tensors, Mode::Eval);
        Ok(self.backbone.logits(&net, &self.images, CLASSES)?.tensor().clone())
    }

    /// Median seconds per call over `steps` calls, after two warm-up calls.
    ///
    /// # Errors
    /// A call failed.
    pub fn seconds(&mut self, steps: usize, call: impl FnMut(&mut Self) -> Result<()>) -> Result<f64> {
        let device = self.labels.device().clone();
        in_seconds(self, &device, steps, call)
    }
}

/// Median seconds per call over `steps` calls, after two warm-up calls.
fn in_seconds<W>(
    workload: &mut W,
    device: &Device,
    steps: usize,
    mut call: impl FnMut(&mut W) -> Result<()>,
) -> Result<f64> {
    let mut seconds = Vec::new();
    for _ in 0..steps + 2 {
        let start = Instant::now();
        call(workload)?;
        device.synchronize()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let mut seconds = seconds.split_off(2);
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[steps / 2])
}

/// Largest accepted errors of a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Largest difference of logits in evaluation mode, relative to the largest magnitude.
    pub logits: f64,
    /// Norm of a gradient's difference, relative to the gradient's norm. Wider than the tolerance of logits, because
    /// rounding errors switch single ReLUs on and off; a wrong gradient is off by about 1.
    pub gradients: f64,
}

/// For f32.
impl Default for Tolerance {
    fn default() -> Self {
        Self { logits: 1e-4, gradients: 5e-2 }
    }
}

/// The errors of a device on one network.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The network and image size.
    pub what: String,
    /// As [`Tolerance::logits`].
    pub logits: f64,
    /// As [`Tolerance::gradients`], for the worst gradient.
    pub gradients: f64,
    /// Whether repeating the step gave identical bits.
    pub repeats: bool,
}

impl Finding {
    /// Whether the device met the tolerance.
    pub fn is_good(&self, tolerance: Tolerance) -> bool {
        self.logits <= tolerance.logits && self.gradients <= tolerance.gradients && self.repeats
    }
}

/// Networks of every family, small enough to run in seconds.
fn examined() -> Vec<(BackboneSpec, usize)> {
    let resnet = |stem, width| ResnetSpec { stem, width };
    vec![
        (BackboneSpec::Resnet18(resnet(Stem::Small, 16)), 28),
        (BackboneSpec::Resnet50(resnet(Stem::Standard, 16)), 65),
        (BackboneSpec::Densenet121(DensenetSpec { growth: 16 }), 64),
        (BackboneSpec::VitTiny(VitSpec { image_size: 48, patch_size: 16 }), 48),
    ]
}

/// Compare a training step and an evaluation of each network with f64 on the CPU.
///
/// # Errors
/// A tensor operation failed.
pub fn examine(device: &Device) -> Result<Vec<Finding>> {
    const BATCH: usize = 16;
    let finding = |(spec, size): (BackboneSpec, usize)| {
        let exact = Workload::new(&spec, size, BATCH, DType::F64, &Device::Cpu)?;
        let workload = Workload::new(&spec, size, BATCH, DType::F32, device)?;
        let (logits, expected) = (wide(&workload.evaluate()?)?, wide(&exact.evaluate()?)?);
        let ((_, first), (_, again), (_, expected_gradients)) =
            (workload.gradients()?, workload.gradients()?, exact.gradients()?);
        Ok(Finding {
            what: format!("{spec} at {size} px"),
            logits: largest(&(&logits - &expected)?)? / largest(&expected)?,
            gradients: worst_error(&first, &expected_gradients)?,
            repeats: worst_error(&first, &again)? == 0.0
                && largest(&(logits - wide(&workload.evaluate()?)?)?)? == 0.0,
        })
    };
    examined().into_iter().map(finding).collect()
}

/// The largest relative error of any gradient that is not negligible.
fn worst_error(gradients: &StateDict, exact: &StateDict) -> Result<f64> {
    /// Relative to the largest gradient. Smaller ones are zero up to rounding: batch norm cancels them.
    const NEGLIGIBLE: f64 = 1e-4;
    let norms = exact.values().map(|exact| norm(&wide(exact)?)).collect::<Result<Vec<_>>>()?;
    let floor = norms.iter().fold(0.0, |largest: f64, norm| largest.max(*norm)) * NEGLIGIBLE;
    let mut worst = 0.0;
    for ((name, exact), of_exact) in exact.iter().zip(norms) {
        let Some(actual) = gradients.get(name) else { candle_core::bail!("`{name}` has no gradient") };
        let error = norm(&(wide(actual)? - wide(exact)?)?)? / of_exact.max(floor);
        worst = worse(worst, error);
    }
    Ok(worst)
}

fn wide(tensor: &Tensor) -> Result<Tensor> {
    tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)
}

/// The largest magnitude.
fn largest(tensor: &Tensor) -> Result<f64> {
    Ok(tensor.abs()?.flatten_all()?.to_vec1::<f64>()?.into_iter().fold(0.0, worse))
}

/// The larger of two errors; NaN is the worst.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b <= a { a } else { b }
}

fn norm(tensor: &Tensor) -> Result<f64> {
    Ok(tensor.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_is_not_a_number_is_never_good() {
        let numbers = |middle: f64| Tensor::new(&[1.0, middle, 2.0], &Device::Cpu).unwrap();
        assert!(largest(&numbers(f64::NAN)).unwrap().is_nan());
        let of = |middle| {
            let tensors = [("a", 1.0), ("b", middle), ("c", 1.0)];
            tensors
                .map(|(name, middle)| (name.to_string(), numbers(middle)))
                .into_iter()
                .collect::<StateDict>()
        };
        let gradients = worst_error(&of(f64::NAN), &of(1.0)).unwrap();
        assert!(gradients.is_nan());
        let finding = Finding { what: String::new(), logits: 0.0, gradients, repeats: true };
        assert!(!finding.is_good(Tolerance::default()));
    }
}
