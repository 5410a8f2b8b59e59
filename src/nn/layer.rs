//! Layers as descriptions: a name, a shape, and the computation on a network's tensors.

use candle_core::{Result, Tensor};

use super::batch_norm::{Moments, Then, batch_norm_eval, batch_norm_train};
use super::conv2d::{ConvOptions, Norm, conv2d, conv2d_norm};
use super::cost::Cost;
use super::init::{Init, Parameter};
use super::layer_norm::layer_norm;
use super::linear::{add_bias, linear};
use super::{LayerInput, Mode, Net, Value};

/// A convolution.
#[derive(Clone, Debug)]
pub struct Conv2d {
    name: String,
    shape: [usize; 4],
    options: ConvOptions,
    init: Init,
    bias: Option<Init>,
}

impl Conv2d {
    /// A convolution with `co` square kernels of side `kernel` over `ci` channels, without bias.
    pub fn new(name: impl Into<String>, ci: usize, co: usize, kernel: usize, options: ConvOptions) -> Self {
        let shape = [co, ci / options.groups, kernel, kernel];
        Self { name: name.into(), shape, options, init: Init::KaimingNormalOut, bias: None }
    }

    /// Sets the initialization of the kernels.
    pub fn with_init(self, init: Init) -> Self {
        Self { init, ..self }
    }

    /// Adds a bias with this initialization.
    pub fn with_bias(self, init: Init) -> Self {
        Self { bias: Some(init), ..self }
    }

    /// The tensors of the layer.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = vec![parameter(&self.name, "weight", &self.shape, self.init)];
        parameters.extend(self.bias.map(|init| parameter(&self.name, "bias", &self.shape[..1], init)));
        parameters
    }

    /// Cost for an image with this side, and the side of the output.
    pub fn cost(&self, side: usize) -> (Cost, usize) {
        let [co, ci, kh, kw] = self.shape;
        let side = self.options.result_side(side, kh);
        (Cost::from_products(&[co, side, side], &[ci, kh, kw]), side)
    }

    /// `[n, h, w, ci]` to `[n, oh, ow, co]`.
    ///
    /// # Errors
    /// A tensor is missing, or the shapes do not match.
    pub fn forward(&self, net: &Net<'_>, x: &Value) -> Result<Value> {
        self.enters(net, x)?;
        let y = conv2d(x, &net.value(&format!("{}.weight", self.name))?, self.options)?;
        let y = match self.bias {
            Some(_) => add_bias(&y, &net.value(&format!("{}.bias", self.name))?)?,
            None => y,
        };
        net.output(&self.name, y)
    }

    /// [`forward`](Self::forward), then `norm` and `then`: in one pass over memory, where that is possible.
    ///
    /// # Errors
    /// A tensor is missing, or the shapes do not match.
    pub fn forward_norm(
        &self,
        net: &Net<'_>,
        x: &Value,
        norm: &BatchNorm2d,
        then: Then<'_>,
    ) -> Result<Value> {
        if net.mode() == Mode::Train || net.at_outputs.is_some() || self.bias.is_some() {
            return norm.forward(net, &self.forward(net, x)?, then);
        }
        self.enters(net, x)?;
        let (weight, bias) = (norm.value(net, "weight")?, norm.value(net, "bias")?);
        let norm = Norm { weight: &weight, bias: &bias, statistics: norm.running(net)?, then };
        conv2d_norm(x, &net.value(&format!("{}.weight", self.name))?, self.options, norm)
    }

    fn enters(&self, net: &Net<'_>, x: &Value) -> Result<()> {
        let [_, _, kh, kw] = self.shape;
        net.enters(&self.name, x, |x| LayerInput::Images { x, kernel: [kh, kw], options: self.options })
    }
}

/// Batch normalization over the last dimension.
#[derive(Clone, Debug)]
pub struct BatchNorm2d {
    name: String,
    channels: usize,
}

impl BatchNorm2d {
    /// A batch norm of `channels` channels.
    pub fn new(name: impl Into<String>, channels: usize) -> Self {
        Self { name: name.into(), channels }
    }

    /// The tensors of the layer, including running statistics.
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

    /// Cost for an image with this side.
    pub fn cost(&self, side: usize) -> Cost {
        Cost::elementwise(&[self.channels, side, side])
    }

    /// Normalizes, then applies `then`; in training the batch statistics are recorded in `net`.
    ///
    /// # Errors
    /// A tensor is missing, or the shapes do not match.
    pub fn forward(&self, net: &Net<'_>, x: &Value, then: Then<'_>) -> Result<Value> {
        match net.mode() {
            Mode::Train => self.train(net, x, &Moments::compute(x)?, then),
            Mode::Eval => {
                let (weight, bias) = (self.value(net, "weight")?, self.value(net, "bias")?);
                batch_norm_eval(x, &weight, &bias, self.running(net)?, then)
            }
        }
    }

    /// Running mean and variance.
    fn running<'a>(&self, net: &'a Net<'_>) -> Result<(&'a Tensor, &'a Tensor)> {
        let running = |what: &str| net.tensor(&format!("{}.{what}", self.name));
        Ok((running("running_mean")?, running("running_var")?))
    }

    /// [`BatchNorm2d::forward`] in training, with precomputed moments of the images.
    ///
    /// # Errors
    /// A tensor is missing, or the shapes do not match.
    pub fn train(&self, net: &Net<'_>, x: &Value, moments: &Moments, then: Then<'_>) -> Result<Value> {
        let (weight, bias) = (self.value(net, "weight")?, self.value(net, "bias")?);
        let y = batch_norm_train(x, moments, &weight, &bias, then)?;
        net.observe(&self.name, moments.statistics()?);
        Ok(y)
    }

    fn value(&self, net: &Net<'_>, what: &str) -> Result<Value> {
        net.value(&format!("{}.{what}", self.name))
    }
}

/// Layer normalization over the last dimension.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    name: String,
    channels: usize,
    eps: f64,
}

impl LayerNorm {
    /// A layer norm of `channels` channels; `eps` is added to the variance.
    pub fn new(name: impl Into<String>, channels: usize, eps: f64) -> Self {
        Self { name: name.into(), channels, eps }
    }

    /// The tensors of the layer.
    pub fn parameters(&self) -> Vec<Parameter> {
        let channels = [self.channels];
        vec![
            parameter(&self.name, "weight", &channels, Init::Constant(1.0)),
            parameter(&self.name, "bias", &channels, Init::Constant(0.0)),
        ]
    }

    /// Cost for `rows` rows.
    pub fn cost(&self, rows: usize) -> Cost {
        Cost::elementwise(&[rows, self.channels])
    }

    /// Normalizes each row of `[.., channels]`.
    ///
    /// # Errors
    /// A tensor is missing, or the shapes do not match.
    pub fn forward(&self, net: &Net<'_>, x: &Value) -> Result<Value> {
        let value = |what| net.value(&format!("{}.{what}", self.name));
        layer_norm(x, &value("weight")?, &value("bias")?, self.eps)
    }
}

/// A linear layer with bias.
#[derive(Clone, Debug)]
pub struct Linear {
    name: String,
    inputs: usize,
    outputs: usize,
    init: (Init, Init),
}

impl Linear {
    /// A linear layer from `inputs` to `outputs` features.
    pub fn new(name: impl Into<String>, inputs: usize, outputs: usize) -> Self {
        let init = Init::Uniform { fan_in: inputs };
        Self { name: name.into(), inputs, outputs, init: (init, init) }
    }

    /// Sets the initialization of weight and bias.
    pub fn with_init(self, weight: Init, bias: Init) -> Self {
        Self { init: (weight, bias), ..self }
    }

    /// The tensors of the layer.
    pub fn parameters(&self) -> Vec<Parameter> {
        vec![
            parameter(&self.name, "weight", &[self.outputs, self.inputs], self.init.0),
            parameter(&self.name, "bias", &[self.outputs], self.init.1),
        ]
    }

    /// Cost for `rows` rows.
    pub fn cost(&self, rows: usize) -> Cost {
        Cost::from_products(&[rows, self.outputs], &[self.inputs])
    }

    /// `[.., inputs]` to `[.., outputs]`.
    ///
    /// # Errors
    /// A tensor is missing, or the shapes do not match.
    pub fn forward(&self, net: &Net<'_>, x: &Value) -> Result<Value> {
        self.forward_added(net, x, None)
    }

    /// The same, plus a residual `[.., outputs]` if given.
    ///
    /// # Errors
    /// A tensor is missing, or the shapes do not match.
    pub fn forward_added(&self, net: &Net<'_>, x: &Value, residual: Option<&Value>) -> Result<Value> {
        net.enters(&self.name, x, |x| LayerInput::Rows(x))?;
        let value = |what| net.value(&format!("{}.{what}", self.name));
        let (weight, bias) = (value("weight")?, value("bias")?);
        match residual.filter(|_| net.at_outputs.is_some()) {
            None => net.output(&self.name, linear(x, &weight, &bias, residual)?),
            Some(residual) => {
                let y = net.output(&self.name, linear(x, &weight, &bias, None)?)?;
                Value::composed(&[&y, residual], |t| &t[0] + &t[1])
            }
        }
    }
}

fn parameter(layer: &str, what: &str, shape: &[usize], init: Init) -> Parameter {
    Parameter { name: format!("{layer}.{what}"), shape: shape.to_vec(), init }
}
