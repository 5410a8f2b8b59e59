//! Initialization of parameters, from seeds.

use candle_core::{Device, Result, Tensor};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::StateDict;
use super::cost::product;
use rng::{Purpose, name_index, rng};

/// A tensor of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Name in the state dict.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Initialization.
    pub init: Init,
}

/// Initialization of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal with variance 2 / fan_out (He et al. 2015, arXiv 1502.01852), as in torchvision's ResNet.
    KaimingNormalOut,
    /// Normal with variance 2 / fan_in, as in torchvision's DenseNet.
    KaimingNormalIn,
    /// Normal with this standard deviation, as in timm's ViT.
    Normal(f32),
    /// Uniform in ±1 / √fan_in, PyTorch's default for linear layers and convolutions.
    Uniform {
        /// Number of inputs of each output.
        fan_in: usize,
    },
    /// A learned parameter with a constant initial value.
    Constant(f32),
    /// A statistic, not learned, with a constant initial value.
    Buffer(f32),
    /// A count of batches (i64), not learned.
    Counter,
}

impl Parameter {
    /// Whether the tensor is learned.
    pub fn is_trainable(&self) -> bool {
        !matches!(self.init, Init::Buffer(_) | Init::Counter)
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        product(self.shape.iter().map(|&length| length as u64))
    }

    /// Initial values for a seed: a function of seed and name alone.
    ///
    /// # Errors
    /// candle cannot make the tensor.
    pub fn initial(&self, seed: u64, device: &Device) -> Result<Tensor> {
        let len = self.shape.iter().product();
        let mut rng = rng(seed, Purpose::Init, 0, name_index(&self.name));
        let values: Vec<f32> = match self.init {
            Init::Counter => return Tensor::zeros(self.shape.as_slice(), candle_core::DType::I64, device),
            Init::Constant(value) | Init::Buffer(value) => vec![value; len],
            Init::KaimingNormalOut => {
                let fan_out = self.shape[0] * self.shape[2..].iter().product::<usize>();
                normal(len, (2.0 / fan_out as f32).sqrt(), &mut rng)
            }
            Init::KaimingNormalIn => {
                let fan_in = self.shape[1..].iter().product::<usize>();
                normal(len, (2.0 / fan_in as f32).sqrt(), &mut rng)
            }
            Init::Normal(std) => normal(len, std, &mut rng),
            Init::Uniform { fan_in } => {
                let bound = 1.0 / (fan_in as f32).sqrt();
                (0..len).map(|_| rng.random_range(-bound..bound)).collect()
            }
        };
        Tensor::from_vec(values, self.shape.as_slice(), device)
    }
}

fn normal(len: usize, std: f32, rng: &mut impl Rng) -> Vec<f32> {
    (0..len).map(|_| std * Distribution::<f32>::sample(&StandardNormal, rng)).collect()
}

/// Initial values of several tensors.
///
/// # Errors
/// candle cannot make a tensor.
pub fn initial_values(parameters: &[Parameter], seed: u64, device: &Device) -> Result<StateDict> {
    parameters.iter().map(|p| Ok((p.name.clone(), p.initial(seed, device)?))).collect()
}
