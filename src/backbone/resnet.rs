//! ResNet (He et al. 2016, arXiv 1512.03385), with torchvision's names.

use candle_core::Result;
use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::symmetry::{Symmetry, Units};
use super::{Backbone, BackboneKind, InTimm, KernelGroup};
use nn::batch_norm::Then;
use nn::conv2d::ConvOptions;
use nn::cost::Cost;
use nn::init::Parameter;
use nn::layer::{BatchNorm2d, Conv2d};
use nn::pool::{global_mean_pool, max_pool2d, max_pool2d_cost};
use nn::{Net, Value};

/// A ResNet (He et al. 2016, arXiv 1512.03385), with torchvision's names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResnetSpec {
    /// First layers of the network.
    pub stem: Stem,
    /// Number of channels of the first block; 64 in the paper.
    pub width: usize,
}

impl Default for ResnetSpec {
    fn default() -> Self {
        Self { stem: Stem::Standard, width: 64 }
    }
}

impl Identity for ResnetSpec {}

impl Kind for ResnetSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.up_to("width", self.width, 4096);
    }
}

impl BackboneKind for ResnetSpec {
    fn network(&self, kind: &str) -> Box<dyn Backbone> {
        let (block, depths) = match kind {
            "resnet18" => (Block::Basic, [2, 2, 2, 2]),
            "resnet34" => (Block::Basic, [3, 4, 6, 3]),
            "resnet50" => (Block::Bottleneck, [3, 4, 6, 3]),
            "resnet101" => (Block::Bottleneck, [3, 4, 23, 3]),
            other => unreachable!("`{other}` is not a ResNet"),
        };
        Box::new(Resnet::new(self, block, depths))
    }

    fn library(&self) -> &'static str {
        "torchvision"
    }

    fn is_standard(&self) -> bool {
        *self == Self::default()
    }

    /// timm's ResNets have the standard stem and width.
    fn in_timm(&self, kind: &str) -> Option<InTimm> {
        let model = || InTimm { architecture: kind.into(), arguments: Vec::new(), first_conv: "conv1" };
        self.is_standard().then(model)
    }

    fn in_python(&self, kind: &str, classes: usize) -> Vec<String> {
        let mut lines = vec![match classes {
            0 => format!("model = torchvision.models.{kind}()"),
            classes => format!("model = torchvision.models.{kind}(num_classes={classes})"),
        }];
        if self.width != Self::default().width {
            lines.extend(self.narrowed(classes));
        }
        if self.stem == Stem::Small {
            lines.push(format!("model.conv1 = torch.nn.Conv2d(3, {}, 3, 1, 1, bias=False)", self.width));
            lines.push("model.maxpool = torch.nn.Identity()".into());
        }
        if classes == 0 {
            lines.push("model.fc = torch.nn.Identity()".into());
        }
        lines
    }
}

impl ResnetSpec {
    /// Lines of Python that give `model` another width.
    fn narrowed(&self, classes: usize) -> Vec<String> {
        let width = self.width;
        let mut lines = vec![
            format!("model.inplanes, block = {width}, type(model.layer1[0])"),
            format!("model.conv1 = torch.nn.Conv2d(3, {width}, 7, 2, 3, bias=False)"),
            format!("model.bn1 = torch.nn.BatchNorm2d({width})"),
            "for i in range(4):".into(),
            "    name = f\"layer{i + 1}\"".into(),
            "    depth, stride = len(getattr(model, name)), min(i, 1) + 1".into(),
            format!("    setattr(model, name, model._make_layer(block, {width} << i, depth, stride))"),
        ];
        if classes > 0 {
            lines.push(format!("model.fc = torch.nn.Linear({} * block.expansion, {classes})", 8 * width));
        }
        lines
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// 7x7 convolution of stride 2, then 3x3 max pool of stride 2: for images of 64 pixels or more.
    #[default]
    Standard,
    /// 3x3 convolution of stride 1 without pool, as for CIFAR: for small images.
    Small,
}

/// A ResNet.
pub struct Resnet {
    stem: Stem,
    width: usize,
    first: ConvNorm,
    blocks: Vec<Residual>,
    feature_size: usize,
}

/// The kind of residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// A 1x1 convolution to a quarter of the channels, a 3x3 convolution (with the stride, as in torchvision), and a
    /// 1x1 convolution back.
    Bottleneck,
}

impl Resnet {
    /// A network with the given number of blocks in each of its four stages.
    pub fn new(spec: &ResnetSpec, block: Block, depths: [usize; 4]) -> Self {
        let (kernel, stride) = match spec.stem {
            Stem::Standard => (7, 2),
            Stem::Small => (3, 1),
        };
        let first = ConvNorm::new("conv1", "bn1", (3, spec.width), kernel, stride);
        let mut blocks = Vec::new();
        let mut channels = spec.width;
        for (stage, depth) in depths.into_iter().enumerate() {
            for i in 0..depth {
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                let name = format!("layer{}.{i}", stage + 1);
                blocks.push(Residual::new(block, &name, channels, spec.width << stage, stride));
                channels = block.outputs(spec.width << stage);
            }
        }
        Self { stem: spec.stem, width: spec.width, first, blocks, feature_size: channels }
    }

    fn layers(&self) -> impl Iterator<Item = &ConvNorm> {
        std::iter::once(&self.first).chain(self.blocks.iter().flat_map(Residual::layers))
    }
}

impl Backbone for Resnet {
    /// The first layer, and each residual block.
    fn depths(&self) -> Vec<Vec<Parameter>> {
        let blocks = self.blocks.iter().map(|block| block.layers().flat_map(ConvNorm::parameters).collect());
        std::iter::once(self.first.parameters()).chain(blocks).collect()
    }

    fn features(&self, net: &Net<'_>, x: &Value) -> Result<Value> {
        let mut x = self.first.forward(net, x, Then::Relu)?;
        if self.stem == Stem::Standard {
            x = max_pool2d(&x, 3, 2, 1)?;
        }
        for block in &self.blocks {
            x = block.forward(net, &x)?;
        }
        net.enters_pool(&x)?;
        global_mean_pool(&x)
    }

    fn cost(&self, image_size: usize) -> Cost {
        let (mut cost, mut side) = self.first.cost(image_size);
        if self.stem == Stem::Standard {
            let (pool, pooled) = max_pool2d_cost((self.width, side), 3, 2, 1);
            (cost, side) = (cost + pool, pooled);
        }
        for block in &self.blocks {
            let (of_block, smaller) = block.cost(side);
            (cost, side) = (cost + of_block, smaller);
        }
        cost + Cost::elementwise(&[self.feature_size])
    }

    fn feature_size(&self) -> usize {
        self.feature_size
    }

    fn head_name(&self) -> &'static str {
        "fc"
    }

    fn kernel_groups(&self) -> Vec<KernelGroup> {
        self.layers().map(|layer| KernelGroup::from_parameters(&layer.parameters())).collect()
    }

    /// The channels between two layers of a block, and those of the residual stream: all blocks up to the next
    /// downsampling shortcut add to the same channels.
    fn symmetries(&self) -> Vec<Symmetry> {
        let mut symmetries = Vec::new();
        let mut stream = self.first.units();
        for Residual { branch, downsample } in &self.blocks {
            let inner = branch.windows(2).map(|pair| pair[0].units().read_by(&pair[1].conv.parameters(), 0));
            symmetries.extend(inner.map(Symmetry::from));
            stream = stream.read_by(&branch[0].conv.parameters(), 0);
            if let Some(downsample) = downsample {
                symmetries.push(stream.read_by(&downsample.conv.parameters(), 0).into());
                stream = downsample.units();
            }
            stream = stream.made_by(&branch[branch.len() - 1].parameters(), 0);
        }
        symmetries.push(stream.read_by_head(&self.head(1).parameters(), 0).into());
        symmetries
    }
}

impl Block {
    /// Number of output channels of a block of `width`.
    fn outputs(self, width: usize) -> usize {
        match self {
            Self::Basic => width,
            Self::Bottleneck => 4 * width,
        }
    }

    /// Kernel side, output channels and stride of each layer of the residual branch.
    fn branch(self, width: usize, stride: usize) -> Vec<(usize, usize, usize)> {
        match self {
            Self::Basic => vec![(3, width, stride), (3, width, 1)],
            Self::Bottleneck => vec![(1, width, 1), (3, width, stride), (1, 4 * width, 1)],
        }
    }
}

/// A residual block: a branch of convolutions and a shortcut.
struct Residual {
    branch: Vec<ConvNorm>,
    downsample: Option<ConvNorm>,
}

impl Residual {
    fn new(block: Block, name: &str, ci: usize, width: usize, stride: usize) -> Self {
        let co = block.outputs(width);
        let mut channels = ci;
        let mut branch = Vec::new();
        for (i, (kernel, out, stride)) in block.branch(width, stride).into_iter().enumerate() {
            let (conv, norm) = (format!("{name}.conv{}", i + 1), format!("{name}.bn{}", i + 1));
            branch.push(ConvNorm::new(conv, norm, (channels, out), kernel, stride));
            channels = out;
        }
        let names = (format!("{name}.downsample.0"), format!("{name}.downsample.1"));
        let resized = stride != 1 || ci != co;
        let downsample = resized.then(|| ConvNorm::new(names.0, names.1, (ci, co), 1, stride));
        Self { branch, downsample }
    }

    fn layers(&self) -> impl Iterator<Item = &ConvNorm> {
        self.branch.iter().chain(self.downsample.as_ref())
    }

    /// Cost for an image with this side, and the side of the result.
    fn cost(&self, side: usize) -> (Cost, usize) {
        let shortcut = self.downsample.iter().map(|downsample| downsample.cost(side).0).sum();
        self.branch.iter().fold((shortcut, side), |(cost, side), layer| {
            let (of_layer, smaller) = layer.cost(side);
            (cost + of_layer, smaller)
        })
    }

    fn forward(&self, net: &Net<'_>, x: &Value) -> Result<Value> {
        let shortcut = match &self.downsample {
            Some(downsample) => downsample.forward(net, x, Then::Nothing)?,
            None => x.clone(),
        };
        let last = self.branch.len() - 1;
        let mut y = x.clone();
        for layer in &self.branch[..last] {
            y = layer.forward(net, &y, Then::Relu)?;
        }
        self.branch[last].forward(net, &y, Then::AddRelu(&shortcut))
    }
}

/// A convolution and the batch norm that follows it.
struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm2d,
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
        Self { conv: Conv2d::new(conv, ci, co, kernel, options), norm: BatchNorm2d::new(norm, co) }
    }

    fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = self.conv.parameters();
        parameters.extend(self.norm.parameters());
        parameters
    }

    /// Its output channels.
    fn units(&self) -> Units {
        Units::outputs_of(&self.parameters())
    }

    /// Cost for an image with this side, and the side of the result.
    fn cost(&self, side: usize) -> (Cost, usize) {
        let (cost, side) = self.conv.cost(side);
        (cost + self.norm.cost(side), side)
    }

    fn forward(&self, net: &Net<'_>, x: &Value, then: Then<'_>) -> Result<Value> {
        self.conv.forward_norm(net, x, &self.norm, then)
    }
}
