//! ResNet (He et al. 2016, arXiv 1512.03385), with torchvision's names.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{Backbone, KernelGroup};
use crate::nn::Net;
use crate::nn::batch_norm::Then;
use crate::nn::conv2d::ConvOptions;
use crate::nn::init::Parameter;
use crate::nn::layer::{BatchNorm2d, Conv2d};
use crate::nn::pool::{global_mean_pool, max_pool2d};

/// Options of a ResNet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResnetSpec {
    /// The first layers.
    pub stem: Stem,
    /// Channels of the first block; 64 in the paper.
    pub width: usize,
}

impl Default for ResnetSpec {
    fn default() -> Self {
        Self { stem: Stem::Standard, width: 64 }
    }
}

impl std::fmt::Display for ResnetSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stem = match self.stem {
            Stem::Standard => "standard",
            Stem::Small => "small",
        };
        write!(f, "{stem} stem, width {}", self.width)
    }
}

/// The first layers of a ResNet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// 7x7 stride 2, then 3x3 max-pool stride 2: for images of 64 pixels and more.
    #[default]
    Standard,
    /// 3x3 stride 1 and no pool, as for CIFAR: for small images.
    Small,
}

/// A ResNet of basic blocks.
pub struct Resnet {
    stem: Stem,
    first: ConvNorm,
    blocks: Vec<BasicBlock>,
    feature_size: usize,
}

impl Resnet {
    /// ResNet-18: two blocks in each of four stages.
    pub fn eighteen(spec: &ResnetSpec) -> Self {
        Self::of_basic_blocks(spec, [2, 2, 2, 2])
    }

    fn of_basic_blocks(spec: &ResnetSpec, depths: [usize; 4]) -> Self {
        let (kernel, stride) = match spec.stem {
            Stem::Standard => (7, 2),
            Stem::Small => (3, 1),
        };
        let first = ConvNorm::new("conv1", "bn1", (3, spec.width), kernel, stride);
        let mut blocks = Vec::new();
        let mut channels = spec.width;
        for (stage, depth) in depths.into_iter().enumerate() {
            let out = spec.width << stage;
            for block in 0..depth {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                blocks.push(BasicBlock::new(&format!("layer{}.{block}", stage + 1), channels, out, stride));
                channels = out;
            }
        }
        Self { stem: spec.stem, first, blocks, feature_size: channels }
    }

    fn layers(&self) -> impl Iterator<Item = &ConvNorm> {
        let blocks = self
            .blocks
            .iter()
            .flat_map(|block| [&block.first, &block.second].into_iter().chain(block.downsample.as_ref()));
        std::iter::once(&self.first).chain(blocks)
    }
}

impl Backbone for Resnet {
    fn parameters(&self) -> Vec<Parameter> {
        self.layers().flat_map(ConvNorm::parameters).collect()
    }

    fn features(&self, net: &Net<'_>, x: &Tensor) -> Result<Tensor> {
        let mut x = self.first.forward(net, x, Then::Relu)?;
        if self.stem == Stem::Standard {
            x = max_pool2d(&x, 3, 2, 1)?;
        }
        for block in &self.blocks {
            x = block.forward(net, &x)?;
        }
        global_mean_pool(&x)
    }

    fn feature_size(&self) -> usize {
        self.feature_size
    }

    fn head_name(&self) -> &'static str {
        "fc"
    }

    fn kernel_groups(&self) -> Vec<KernelGroup> {
        self.layers().map(ConvNorm::kernel_group).collect()
    }
}

/// Two 3x3 convolutions and a shortcut.
struct BasicBlock {
    first: ConvNorm,
    second: ConvNorm,
    downsample: Option<ConvNorm>,
}

impl BasicBlock {
    fn new(name: &str, ci: usize, co: usize, stride: usize) -> Self {
        let layer = |conv: &str, norm: &str, ci, kernel, stride| {
            ConvNorm::new(format!("{name}.{conv}"), format!("{name}.{norm}"), (ci, co), kernel, stride)
        };
        let resized = stride != 1 || ci != co;
        Self {
            first: layer("conv1", "bn1", ci, 3, stride),
            second: layer("conv2", "bn2", co, 3, 1),
            downsample: resized.then(|| layer("downsample.0", "downsample.1", ci, 1, stride)),
        }
    }

    fn forward(&self, net: &Net<'_>, x: &Tensor) -> Result<Tensor> {
        let shortcut = match &self.downsample {
            Some(downsample) => downsample.forward(net, x, Then::Nothing)?,
            None => x.clone(),
        };
        let y = self.first.forward(net, x, Then::Relu)?;
        self.second.forward(net, &y, Then::AddRelu(&shortcut))
    }
}

/// A convolution and the batch norm that follows it.
struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm2d,
    kernels: usize,
}

impl ConvNorm {
    fn new(
        conv: impl Into<String>,
        norm: impl Into<String>,
        (ci, co): (usize, usize),
        kernel: usize,
        stride: usize,
    ) -> Self {
        let options = ConvOptions { stride, padding: kernel / 2, ..ConvOptions::default() };
        Self {
            conv: Conv2d::new(conv, ci, co, kernel, options),
            norm: BatchNorm2d::new(norm, co),
            kernels: co,
        }
    }

    fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = self.conv.parameters();
        parameters.extend(self.norm.parameters());
        parameters
    }

    fn kernel_group(&self) -> KernelGroup {
        let trainable = self.parameters().into_iter().filter(Parameter::is_trainable);
        KernelGroup {
            layer: self.conv.name().to_string(),
            kernels: self.kernels,
            tensors: trainable.map(|parameter| parameter.name).collect(),
        }
    }

    fn forward(&self, net: &Net<'_>, x: &Tensor, then: Then<'_>) -> Result<Tensor> {
        self.norm.forward(net, &self.conv.forward(net, x)?, then)
    }
}
