//! DenseNet (Huang et al. 2017, arXiv 1608.06993), with torchvision's names.

use std::ops::RangeInclusive;

use candle_core::Result;
use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::symmetry::{Symmetry, Units};
use super::{Backbone, BackboneKind, InTimm, KernelGroup};
use nn::batch_norm::{Moments, Then};
use nn::concat::concat_channels;
use nn::conv2d::ConvOptions;
use nn::cost::Cost;
use nn::init::{Init, Parameter};
use nn::layer::{BatchNorm2d, Conv2d, Linear};
use nn::pool::{global_mean_pool, max_pool2d, max_pool2d_cost, mean_pool2d};
use nn::{Mode, Net, Value};

/// Output channels of a layer's bottleneck, per channel that the layer adds.
const BOTTLENECK: usize = 4;

/// DenseNet-121 (Huang et al. 2017, arXiv 1608.06993), with torchvision's names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DensenetSpec {
    /// Growth rate: number of channels that each layer adds; 32 in the paper. The first convolution makes twice as
    /// many.
    pub growth: usize,
}

impl Default for DensenetSpec {
    fn default() -> Self {
        Self { growth: 32 }
    }
}

impl Identity for DensenetSpec {}

impl Kind for DensenetSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.up_to("growth", self.growth, 1024);
    }
}

impl BackboneKind for DensenetSpec {
    fn network(&self, _: &str) -> Box<dyn Backbone> {
        Box::new(Densenet::new(self, [6, 12, 24, 16]))
    }

    fn library(&self) -> &'static str {
        "torchvision"
    }

    fn is_standard(&self) -> bool {
        *self == Self::default()
    }

    fn in_timm(&self, kind: &str) -> Option<InTimm> {
        let growth = (!self.is_standard()).then_some(("growth_rate", self.growth));
        let arguments = growth.into_iter().collect();
        Some(InTimm { architecture: kind.into(), arguments, first_conv: "features.conv0" })
    }

    fn in_python(&self, _: &str, classes: usize) -> Vec<String> {
        let (growth, first) = (self.growth, 2 * self.growth);
        let network = format!("{growth}, (6, 12, 24, 16), {first}");
        match classes {
            0 => vec![
                format!("model = torchvision.models.DenseNet({network})"),
                "model.classifier = torch.nn.Identity()".into(),
            ],
            classes => vec![format!("model = torchvision.models.DenseNet({network}, num_classes={classes})")],
        }
    }
}

impl std::fmt::Display for DensenetSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "growth {}", self.growth)
    }
}

/// A DenseNet.
pub struct Densenet {
    growth: usize,
    conv: Conv2d,
    norm: BatchNorm2d,
    blocks: Vec<DenseBlock>,
    last_norm: BatchNorm2d,
    feature_size: usize,
}

impl Densenet {
    /// A network with the given number of layers in each of its four blocks.
    pub fn new(spec: &DensenetSpec, depths: [usize; 4]) -> Self {
        let mut channels = 2 * spec.growth;
        let options = ConvOptions { stride: 2, padding: 3, ..ConvOptions::default() };
        let conv = convolution("features.conv0", 3, channels, 7, options);
        let norm = BatchNorm2d::new("features.norm0", channels);
        let mut blocks = Vec::new();
        for (i, depth) in depths.into_iter().enumerate() {
            let block = DenseBlock::new(i + 1, channels, spec.growth, depth, i + 1 < depths.len());
            channels = block.outputs();
            blocks.push(block);
        }
        let last_norm = BatchNorm2d::new("features.norm5", channels);
        Self { growth: spec.growth, conv, norm, blocks, last_norm, feature_size: channels }
    }

    /// Every layer with kernels: a convolution with the norm that follows only it, or a norm over the
    /// channels of several layers.
    fn layers(&self) -> Vec<Vec<Parameter>> {
        let mut layers = vec![[self.conv.parameters(), self.norm.parameters()].concat()];
        layers.extend(self.blocks.iter().flat_map(DenseBlock::layers));
        layers.push(self.last_norm.parameters());
        layers
    }
}

impl Backbone for Densenet {
    /// The first layer, and each dense block with its transition or the last norm.
    fn depths(&self) -> Vec<Vec<Parameter>> {
        let first = [self.conv.parameters(), self.norm.parameters()].concat();
        let mut depths = vec![first];
        depths.extend(self.blocks.iter().map(|block| block.layers().concat()));
        depths.last_mut().into_iter().for_each(|last| last.extend(self.last_norm.parameters()));
        depths
    }

    fn features(&self, net: &Net<'_>, x: &Value) -> Result<Value> {
        let x = self.conv.forward_norm(net, x, &self.norm, Then::Relu)?;
        let mut x = max_pool2d(&x, 3, 2, 1)?;
        for block in &self.blocks {
            x = block.forward(net, x)?;
        }
        let x = self.last_norm.forward(net, &x, Then::Relu)?;
        net.enters_pool(&x)?;
        global_mean_pool(&x)
    }

    fn cost(&self, image_size: usize) -> Cost {
        let (conv, side) = self.conv.cost(image_size);
        let (pool, pooled) = max_pool2d_cost((2 * self.growth, side), 3, 2, 1);
        let (mut cost, mut side) = (conv + self.norm.cost(side) + pool, pooled);
        for block in &self.blocks {
            let (of_block, smaller) = block.cost(side);
            (cost, side) = (cost + of_block, smaller);
        }
        cost + self.last_norm.cost(side) + Cost::elementwise(&[self.feature_size])
    }

    fn feature_size(&self) -> usize {
        self.feature_size
    }

    /// Smaller images would have no pixels left at the last transition.
    fn image_sizes(&self) -> RangeInclusive<usize> {
        29..=usize::MAX
    }

    fn head_name(&self) -> &'static str {
        "classifier"
    }

    fn head(&self, classes: usize) -> Linear {
        let weight = Init::Uniform { fan_in: self.feature_size };
        Linear::new(self.head_name(), self.feature_size, classes).with_init(weight, Init::Constant(0.0))
    }

    fn kernel_groups(&self) -> Vec<KernelGroup> {
        self.layers().iter().map(|parameters| KernelGroup::from_parameters(parameters)).collect()
    }

    /// The channels between the two convolutions of a layer, and the channels that enter a block or are added by one of
    /// its layers: a segment of the input of every later layer of the block.
    fn symmetries(&self) -> Vec<Symmetry> {
        let mut symmetries = Vec::new();
        let mut segments =
            vec![Units::outputs_of(&[self.conv.parameters(), self.norm.parameters()].concat())];
        for block in &self.blocks {
            for layer in &block.layers {
                let [norm, bottleneck, added] = layer.layers();
                segments = read(segments, &norm, &layer.conv1.parameters(), Units::read_by);
                symmetries.push(Units::outputs_of(&bottleneck).read_by(&added, 0).into());
                segments.push(Units::outputs_of(&added));
            }
            if let Some(Transition { norm, conv }) = &block.transition {
                segments = read(segments, &norm.parameters(), &conv.parameters(), Units::read_by);
                symmetries.extend(segments.into_iter().map(Symmetry::from));
                segments = vec![Units::outputs_of(&conv.parameters())];
            }
        }
        let head = self.head(1).parameters();
        segments = read(segments, &self.last_norm.parameters(), &head, Units::read_by_head);
        symmetries.extend(segments.into_iter().map(Symmetry::from));
        symmetries
    }
}

/// Registers a norm and the layer that reads it as readers of the concatenated segments.
fn read(
    segments: Vec<Units>,
    norm: &[Parameter],
    layer: &[Parameter],
    by: fn(Units, &[Parameter], usize) -> Units,
) -> Vec<Units> {
    let mut next = 0;
    let register = |units: Units| {
        let start = next;
        next += units.size;
        by(units.made_by(norm, start), layer, start)
    };
    segments.into_iter().map(register).collect()
}

/// Layers that each see all preceding channels, and a transition that halves channels and side.
struct DenseBlock {
    layers: Vec<DenseLayer>,
    transition: Option<Transition>,
    channels: usize,
}

impl DenseBlock {
    fn new(number: usize, inputs: usize, growth: usize, depth: usize, transition: bool) -> Self {
        let layers = (0..depth).map(|i| {
            let name = format!("features.denseblock{number}.denselayer{}", i + 1);
            DenseLayer::new(&name, inputs + i * growth, growth)
        });
        let channels = inputs + depth * growth;
        let transition =
            transition.then(|| Transition::new(&format!("features.transition{number}"), channels));
        Self { layers: layers.collect(), transition, channels }
    }

    fn outputs(&self) -> usize {
        self.channels / if self.transition.is_some() { 2 } else { 1 }
    }

    fn layers(&self) -> Vec<Vec<Parameter>> {
        let mut layers: Vec<_> = self.layers.iter().flat_map(DenseLayer::layers).collect();
        layers.extend(self.transition.iter().flat_map(|t| [t.norm.parameters(), t.conv.parameters()]));
        layers
    }

    /// Cost for an image with this side, and the side of the result.
    fn cost(&self, side: usize) -> (Cost, usize) {
        let layers = self.layers.iter().map(|layer| layer.cost(side)).sum();
        match &self.transition {
            Some(transition) => (layers + transition.cost(side), side / 2),
            None => (layers, side),
        }
    }

    fn forward(&self, net: &Net<'_>, x: Value) -> Result<Value> {
        let mut features = Features::new(net, x)?;
        for layer in &self.layers {
            let new = layer.forward(net, &features)?;
            features.add(net, new)?;
        }
        match &self.transition {
            Some(transition) => transition.forward(net, &features),
            None => Ok(features.x),
        }
    }
}

/// The channels of a block so far. In training their moments are kept, so that only the moments of new channels are
/// computed.
struct Features {
    x: Value,
    moments: Option<Moments>,
}

impl Features {
    fn new(net: &Net<'_>, x: Value) -> Result<Self> {
        let moments = (net.mode() == Mode::Train).then(|| Moments::compute(&x)).transpose()?;
        Ok(Self { x, moments })
    }

    fn add(&mut self, net: &Net<'_>, new: Value) -> Result<()> {
        let new = Self::new(net, new)?;
        self.x = concat_channels(&self.x, &new.x)?;
        self.moments =
            self.moments.take().zip(new.moments).map(|(moments, new)| moments.concat(new)).transpose()?;
        Ok(())
    }

    fn normalized(&self, net: &Net<'_>, norm: &BatchNorm2d) -> Result<Value> {
        match &self.moments {
            Some(moments) => norm.train(net, &self.x, moments, Then::Relu),
            None => norm.forward(net, &self.x, Then::Relu),
        }
    }
}

/// Norm, 1x1 convolution, norm, 3x3 convolution.
struct DenseLayer {
    /// Number of channels of the block after this layer.
    outputs: usize,
    norm1: BatchNorm2d,
    conv1: Conv2d,
    norm2: BatchNorm2d,
    conv2: Conv2d,
}

impl DenseLayer {
    fn new(name: &str, inputs: usize, growth: usize) -> Self {
        let inner = BOTTLENECK * growth;
        let padded = ConvOptions { padding: 1, ..ConvOptions::default() };
        Self {
            outputs: inputs + growth,
            norm1: BatchNorm2d::new(format!("{name}.norm1"), inputs),
            conv1: convolution(&format!("{name}.conv1"), inputs, inner, 1, ConvOptions::default()),
            norm2: BatchNorm2d::new(format!("{name}.norm2"), inner),
            conv2: convolution(&format!("{name}.conv2"), inner, growth, 3, padded),
        }
    }

    fn layers(&self) -> [Vec<Parameter>; 3] {
        let bottleneck = [self.conv1.parameters(), self.norm2.parameters()].concat();
        [self.norm1.parameters(), bottleneck, self.conv2.parameters()]
    }

    /// Cost for an image with this side; the concatenation with the new channels is a result, too.
    fn cost(&self, side: usize) -> Cost {
        let convolutions = self.conv1.cost(side).0 + self.conv2.cost(side).0;
        let beside = Cost::elementwise(&[self.outputs, side, side]);
        convolutions + self.norm1.cost(side) + self.norm2.cost(side) + beside
    }

    fn forward(&self, net: &Net<'_>, features: &Features) -> Result<Value> {
        let x = features.normalized(net, &self.norm1)?;
        self.conv2.forward(net, &self.conv1.forward_norm(net, &x, &self.norm2, Then::Relu)?)
    }
}

/// Norm, 1x1 convolution, 2x2 mean pool.
struct Transition {
    norm: BatchNorm2d,
    conv: Conv2d,
}

impl Transition {
    fn new(name: &str, channels: usize) -> Self {
        Self {
            norm: BatchNorm2d::new(format!("{name}.norm"), channels),
            conv: convolution(&format!("{name}.conv"), channels, channels / 2, 1, ConvOptions::default()),
        }
    }

    /// Cost for an image with this side. The mean pool costs no more than is counted for the norm.
    fn cost(&self, side: usize) -> Cost {
        self.norm.cost(side) + self.conv.cost(side / 2).0
    }

    /// Mean pool and 1x1 convolution commute: pooling first leaves a quarter of the pixels to convolve.
    fn forward(&self, net: &Net<'_>, features: &Features) -> Result<Value> {
        let x = mean_pool2d(&features.normalized(net, &self.norm)?, 2)?;
        self.conv.forward(net, &x)
    }
}

fn convolution(name: &str, ci: usize, co: usize, kernel: usize, options: ConvOptions) -> Conv2d {
    Conv2d::new(name, ci, co, kernel, options).with_init(Init::KaimingNormalIn)
}
