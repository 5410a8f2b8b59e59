//! Layers as descriptions: a name, a shape, and what they compute from a network's tensors.

use candle_core::{Result, Tensor};

use super::batch_norm::{Then, batch_norm_eval, batch_norm_train};
use super::conv2d::{ConvOptions, conv2d};
use super::init::{Init, Parameter};
use super::linear::linear;
use super::{Mode, Net};

/// A convolution without bias.
#[derive(Clone, Debug)]
pub struct Conv2d {
    name: String,
    shape: [usize; 4],
    options: ConvOptions,
}

impl Conv2d {
    /// `co` square kernels of side `kernel` over `ci` channels.
    pub fn new(name: impl Into<String>, ci: usize, co: usize, kernel: usize, options: ConvOptions) -> Self {
        Self { name: name.into(), shape: [co, ci / options.groups, kernel, kernel], options }
    }

    /// Its name in the network.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its tensors.
    pub fn parameters(&self) -> Vec<Parameter> {
        vec![parameter(&self.name, "weight", &self.shape, Init::KaimingNormal)]
    }

    /// `[n, h, w, ci]` to `[n, oh, ow, co]`.
    ///
    /// # Errors
    /// A missing tensor or shapes that do not fit.
    pub fn forward(&self, net: &Net<'_>, x: &Tensor) -> Result<Tensor> {
        conv2d(x, net.tensor(&format!("{}.weight", self.name))?, self.options)
    }
}

/// Batch normalisation over the last dimension.
#[derive(Clone, Debug)]
pub struct BatchNorm2d {
    name: String,
    channels: usize,
}

impl BatchNorm2d {
    /// Of `channels` channels.
    pub fn new(name: impl Into<String>, channels: usize) -> Self {
        Self { name: name.into(), channels }
    }

    /// Its name in the network.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its tensors, statistics included.
    pub fn parameters(&self) -> Vec<Parameter> {
        let channels = [self.channels];
        vec![
            parameter(&self.name, "weight", &channels, Init::Constant(1.0)),
            parameter(&self.name, "bias", &channels, Init::Constant(0.0)),
            parameter(&self.name, "running_mean", &channels, Init::Buffer(0.0)),
            parameter(&self.name, "running_var", &channels, Init::Buffer(1.0)),
            parameter(&self.name, "num_batches_tracked", &[], Init::Counter),
        ]
    }

    /// Normalise, then go on with `then`; in training the batch's statistics are observed by `net`.
    ///
    /// # Errors
    /// A missing tensor or shapes that do not fit.
    pub fn forward(&self, net: &Net<'_>, x: &Tensor, then: Then<'_>) -> Result<Tensor> {
        let tensor = |what| net.tensor(&format!("{}.{what}", self.name));
        let (weight, bias) = (tensor("weight")?, tensor("bias")?);
        match net.mode() {
            Mode::Train => {
                let (y, statistics) = batch_norm_train(x, weight, bias, then)?;
                net.observe(&self.name, statistics);
                Ok(y)
            }
            Mode::Eval => {
                let running = (tensor("running_mean")?, tensor("running_var")?);
                batch_norm_eval(x, weight, bias, running, then)
            }
        }
    }
}

/// A linear layer with bias.
#[derive(Clone, Debug)]
pub struct Linear {
    name: String,
    inputs: usize,
    outputs: usize,
}

impl Linear {
    /// From `inputs` to `outputs` numbers.
    pub fn new(name: impl Into<String>, inputs: usize, outputs: usize) -> Self {
        Self { name: name.into(), inputs, outputs }
    }

    /// Its tensors.
    pub fn parameters(&self) -> Vec<Parameter> {
        let init = Init::Uniform { fan_in: self.inputs };
        vec![
            parameter(&self.name, "weight", &[self.outputs, self.inputs], init),
            parameter(&self.name, "bias", &[self.outputs], init),
        ]
    }

    /// `[n, inputs]` to `[n, outputs]`.
    ///
    /// # Errors
    /// A missing tensor or shapes that do not fit.
    pub fn forward(&self, net: &Net<'_>, x: &Tensor) -> Result<Tensor> {
        let tensor = |what| net.tensor(&format!("{}.{what}", self.name));
        linear(x, tensor("weight")?, tensor("bias")?)
    }
}

fn parameter(layer: &str, what: &str, shape: &[usize], init: Init) -> Parameter {
    Parameter { name: format!("{layer}.{what}"), shape: shape.to_vec(), init }
}
