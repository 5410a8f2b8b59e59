//! Whether a device computes as it should: training steps on it are held against the same steps in f64 on the processor.

use std::time::Instant;

use candle_core::{DType, Device, Result, Tensor, Var};
use rand::Rng;

use crate::backbone::densenet::DensenetSpec;
use crate::backbone::resnet::{ResnetSpec, Stem};
use crate::backbone::vit::VitSpec;
use crate::backbone::{Backbone, BackboneSpec};
use crate::nn::init::initial_values;
use crate::nn::{Mode, Net, StateDict, Value, gradients, leaves};
use crate::rng::{Purpose, rng};
use crate::train::optimizer::{Optimizer, OptimizerSpec};
use crate::train::{Loss, LossSpec};

/// Classes of the made-up task.
const CLASSES: usize = 7;

/// One network, its optimiser, and one batch of random images, to step with again and again.
pub struct Workload {
    backbone: Box<dyn Backbone>,
    tensors: StateDict,
    variables: Vec<(String, Var)>,
    optimizer: Optimizer,
    loss: Loss,
    images: Value,
    labels: Tensor,
}

impl Workload {
    /// `batch` images of `size` pixels for a network of usual initial values, all from fixed seeds.
    ///
    /// # Errors
    /// The device has no memory.
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
            loss: LossSpec::default().build(&[1; CLASSES], device)?,
            images: Value::constant(images),
            labels: Tensor::new(labels, device)?,
        })
    }

    /// Logits in training, and every parameter's gradient.
    ///
    /// # Errors
    /// A tensor operation failed.
    pub fn gradients(&self) -> Result<(Tensor, StateDict)> {
        let leaves = leaves(&self.tensors, self.variables.iter().map(|(name, _)| name));
        let net = Net::with_values(&self.tensors, leaves.clone(), Mode::Train);
        let logits = self.backbone.logits(&net, &self.images, CLASSES)?;
        let narrow = logits.tensor().to_dtype(DType::F32)?;
        let (_, of_logits) = self.loss.with_gradient(&narrow, &self.labels)?;
        let gradients = gradients(&logits, of_logits.to_dtype(logits.tensor().dtype())?, &leaves)?;
        Ok((logits.tensor().clone(), gradients))
    }

    /// A whole training step.
    ///
    /// # Errors
    /// A tensor operation failed, or a parameter got no gradient.
    pub fn train(&mut self) -> Result<()> {
        let (_, gradients) = self.gradients()?;
        let step = self.optimizer.step(&gradients, 1.0, None);
        step.map_err(|error| candle_core::Error::Msg(error.to_string()))
    }

    /// Logits in evaluation.
    ///
    /// # Errors
    /// A tensor operation failed.
    pub fn evaluate(&self) -> Result<Tensor> {
        let net = Net::new(&self.tensors, Mode::Eval);
        Ok(self.backbone.logits(&net, &self.images, CLASSES)?.tensor().clone())
    }

    /// Median seconds of `steps` calls that follow two.
    ///
    /// # Errors
    /// A call failed.
    pub fn seconds(&mut self, steps: usize, mut call: impl FnMut(&mut Self) -> Result<()>) -> Result<f64> {
        let device = self.labels.device().clone();
        let mut seconds = Vec::new();
        for _ in 0..steps + 2 {
            let start = Instant::now();
            call(self)?;
            device.synchronize()?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        let mut seconds = seconds.split_off(2);
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[steps / 2])
    }
}

/// One finding about a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What was looked at.
    pub what: String,
    /// Largest difference over the largest magnitude, of logits and of any gradient.
    pub error: f64,
    /// What it may be.
    pub tolerance: f64,
    /// Whether the same step gave the same bits again.
    pub repeats: bool,
}

impl Finding {
    /// Whether the device did well.
    pub fn is_good(&self) -> bool {
        self.error <= self.tolerance && self.repeats
    }
}

/// Networks that together pass every operator, small enough for seconds.
fn examined() -> Vec<(BackboneSpec, usize)> {
    let resnet = |stem, width| ResnetSpec { stem, width };
    vec![
        (BackboneSpec::Resnet18(resnet(Stem::Small, 16)), 28),
        (BackboneSpec::Resnet50(resnet(Stem::Standard, 16)), 65),
        (BackboneSpec::Densenet121(DensenetSpec { growth: 16 }), 64),
        (BackboneSpec::VitTiny(VitSpec { image_size: 48, patch_size: 16 }), 48),
    ]
}

/// Hold a training step of each network against f64 on the processor; `tolerance` is for differences relative to the
/// largest magnitude of a tensor.
///
/// # Errors
/// A tensor operation failed.
pub fn examine(device: &Device, tolerance: f64) -> Result<Vec<Finding>> {
    const BATCH: usize = 16;
    let finding = |(spec, size): (BackboneSpec, usize)| {
        let exact = Workload::new(&spec, size, BATCH, DType::F64, &Device::Cpu)?.gradients()?;
        let workload = Workload::new(&spec, size, BATCH, DType::F32, device)?;
        let (first, again) = (workload.gradients()?, workload.gradients()?);
        Ok(Finding {
            what: format!("{spec} at {size} px"),
            error: largest_error(&first, &exact)?,
            tolerance,
            repeats: largest_error(&first, &again)? == 0.0,
        })
    };
    examined().into_iter().map(finding).collect()
}

/// The largest relative difference of the logits and of any gradient that is not just rounding errors.
fn largest_error(step: &(Tensor, StateDict), exact: &(Tensor, StateDict)) -> Result<f64> {
    /// Gradients below this share of the largest one are 0 but for rounding: batch norm takes them out.
    const NEGLIGIBLE: f64 = 1e-4;
    let largest = |tensor: &Tensor| tensor.abs()?.max_all()?.to_scalar::<f64>();
    let wide = |tensor: &Tensor| tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64);
    let floor = exact.1.values().map(|g| largest(&wide(g)?)).collect::<Result<Vec<_>>>()?;
    let floor = floor.into_iter().fold(0.0, f64::max) * NEGLIGIBLE;
    let mut worst = largest(&(wide(&step.0)? - wide(&exact.0)?)?)? / largest(&wide(&exact.0)?)?;
    for (name, exact) in &exact.1 {
        let Some(actual) = step.1.get(name) else { candle_core::bail!("`{name}` got no gradient") };
        let error = largest(&(wide(actual)? - wide(exact)?)?)? / largest(&wide(exact)?)?.max(floor);
        // A NaN is worse than everything.
        worst = if error <= worst { worst } else { error };
    }
    Ok(worst)
}
