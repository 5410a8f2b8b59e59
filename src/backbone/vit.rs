//! Vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929) and DeiT (Touvron et al. 2021, arXiv 2012.12877), the
//! same network with another training recipe; with timm's names.

use std::ops::RangeInclusive;

use candle_core::{Result, bail};
use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stream::{ResidualStream, StreamBlock};
use super::symmetry::{Symmetry, Units};
use super::{Backbone, BackboneKind, InTimm, KernelGroup};
use nn::attention::{attention, attention_cost};
use nn::conv2d::ConvOptions;
use nn::cost::Cost;
use nn::gelu::gelu;
use nn::init::{Init, Parameter};
use nn::layer::{Conv2d, LayerNorm, Linear};
use nn::token::{embed_tokens, first_token};
use nn::{Net, Value};

const BLOCKS: usize = 12;
/// Number of channels per head.
const HEAD: usize = 64;
/// Hidden size of a block's MLP, as a multiple of its channels.
const EXPANSION: usize = 4;
/// ε of layer norm: added to the variance; timm's value.
const EPS: f64 = 1e-6;
/// Initialization of linear layers: timm's `trunc_normal_` truncates at ±2, 100 standard deviations away.
const LINEAR: (Init, Init) = (Init::Normal(0.02), Init::Constant(0.0));

/// A vision transformer, with timm's names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VitSpec {
    /// Side of the images in pixels; must be a multiple of `patch_size`.
    pub image_size: usize,
    /// Side of the patches in pixels; each patch becomes a token.
    pub patch_size: usize,
}

impl Default for VitSpec {
    fn default() -> Self {
        Self { image_size: 224, patch_size: 16 }
    }
}

impl Identity for VitSpec {}

impl Kind for VitSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.up_to("patch_size", self.patch_size, 1024);
        problems.up_to("image_size", self.image_size, 4096);
        let fits = self.image_size.is_multiple_of(self.patch_size.max(1));
        problems.check("image_size", self.image_size, fits, "a multiple of `patch_size`");
    }
}

impl BackboneKind for VitSpec {
    fn network(&self, kind: &str) -> Box<dyn Backbone> {
        let channels = match kind {
            "vit_tiny" => 192,
            "vit_small" | "deit_small" => 384,
            "vit_base" | "deit_base" => 768,
            other => unreachable!("`{other}` is not a vision transformer"),
        };
        Box::new(Vit::new(self, channels))
    }

    fn library(&self) -> &'static str {
        "timm"
    }

    fn is_standard(&self) -> bool {
        *self == Self::default()
    }

    fn in_timm(&self, kind: &str) -> Option<InTimm> {
        let standard = Self::default();
        let arguments = [
            ("img_size", self.image_size, standard.image_size),
            ("patch_size", self.patch_size, standard.patch_size),
        ];
        let changed = arguments.into_iter().filter(|(_, value, standard)| value != standard);
        Some(InTimm {
            architecture: format!("{kind}_patch16_224"),
            arguments: changed.map(|(name, value, _)| (name, value)).collect(),
            first_conv: "patch_embed.proj",
        })
    }

    fn in_python(&self, kind: &str, classes: usize) -> Vec<String> {
        let (image, patch) = (self.image_size, self.patch_size);
        vec![format!(
            "model = timm.create_model(\"{kind}_patch16_224\", img_size={image}, patch_size={patch}, num_classes={classes})"
        )]
    }
}

impl std::fmt::Display for VitSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} px in patches of {}", self.image_size, self.patch_size)
    }
}

/// A vision transformer whose features are its class token.
pub struct Vit {
    image_size: usize,
    channels: usize,
    patches: Conv2d,
    positions: usize,
    blocks: Vec<Block>,
    norm: LayerNorm,
}

impl Vit {
    /// A network of 12 blocks with `channels` channels and one head per 64 channels.
    pub fn new(spec: &VitSpec, channels: usize) -> Self {
        let side = spec.patch_size;
        let init = Init::Uniform { fan_in: 3 * side * side };
        let options = ConvOptions { stride: side, ..ConvOptions::default() };
        let patches =
            Conv2d::new("patch_embed.proj", 3, channels, side, options).with_init(init).with_bias(init);
        Self {
            image_size: spec.image_size,
            channels,
            patches,
            positions: (spec.image_size / side.max(1)).pow(2) + 1,
            blocks: (0..BLOCKS).map(|i| Block::new(&format!("blocks.{i}"), channels)).collect(),
            norm: LayerNorm::new("norm", channels, EPS),
        }
    }

    /// The layers before the first block. The learned tokens are kernels, too: one for the class token, one for all
    /// position embeddings.
    fn first_layers(&self) -> Vec<Vec<Parameter>> {
        let token = |name: &str, tokens: usize, std: f32| {
            vec![Parameter {
                name: name.into(),
                shape: vec![1, tokens, self.channels],
                init: Init::Normal(std),
            }]
        };
        let mut layers = vec![token("cls_token", 1, 1e-6), token("pos_embed", self.positions, 0.02)];
        layers.push(self.patches.parameters());
        layers
    }

    /// Every layer with kernels.
    fn layers(&self) -> Vec<Vec<Parameter>> {
        let mut layers = self.first_layers();
        layers.extend(self.blocks.iter().flat_map(Block::layers));
        layers.push(self.norm.parameters());
        layers
    }

    /// Images `[n, h, w, 3]` to tokens `[n, positions, channels]`, the class token first.
    fn tokens(&self, net: &Net<'_>, x: &Value) -> Result<Value> {
        let patches = self.patches.forward(net, x)?;
        let &[n, h, w, channels] = patches.dims() else { bail!("images have four dimensions") };
        if h * w + 1 != self.positions {
            let side = self.image_size;
            bail!("this transformer takes images of {side} pixels, got {:?}", &x.dims()[1..3]);
        }
        let (class, positions) = (net.value("cls_token")?, net.value("pos_embed")?);
        embed_tokens(&class, &patches.reshape(&[n, h * w, channels])?, &positions)
    }
}

impl Backbone for Vit {
    /// The embedding of patches and positions, and each block, the last one with the norm that follows.
    fn depths(&self) -> Vec<Vec<Parameter>> {
        let mut depths = vec![self.first_layers().concat()];
        depths.extend(self.blocks.iter().map(|block| block.layers().concat()));
        depths.last_mut().into_iter().for_each(|last| last.extend(self.norm.parameters()));
        depths
    }

    /// The last block is computed for the class token only, except for its keys and values.
    fn features(&self, net: &Net<'_>, x: &Value) -> Result<Value> {
        let mut x = self.tokens(net, x)?;
        let (last, blocks) = self.blocks.split_last().expect("a transformer has blocks");
        for block in blocks {
            let attended = block.attend(net, &x)?;
            x = block.forward(net, &x, &attended)?;
        }
        let attended = first_token(&last.attend(net, &x)?)?;
        self.norm.forward(net, &last.forward(net, &first_token(&x)?, &attended)?)
    }

    fn cost(&self, image_size: usize) -> Cost {
        let (patches, side) = self.patches.cost(image_size);
        let tokens = side.saturating_mul(side).saturating_add(1);
        let (last, blocks) = self.blocks.split_last().expect("a transformer has blocks");
        let blocks: Cost = blocks.iter().map(|block| block.cost(tokens, tokens)).sum();
        patches
            + Cost::elementwise(&[tokens, self.channels])
            + blocks
            + last.cost(tokens, 1)
            + self.norm.cost(1)
    }

    fn feature_size(&self) -> usize {
        self.channels
    }

    fn image_sizes(&self) -> RangeInclusive<usize> {
        self.image_size..=self.image_size
    }

    fn head_name(&self) -> &'static str {
        "head"
    }

    fn head(&self, classes: usize) -> Linear {
        Linear::new(self.head_name(), self.channels, classes).with_init(LINEAR.0, LINEAR.1)
    }

    fn kernel_groups(&self) -> Vec<KernelGroup> {
        self.layers().iter().map(|parameters| KernelGroup::from_parameters(parameters)).collect()
    }

    /// The residual stream of the tokens, and the symmetries within each block.
    fn symmetries(&self) -> Vec<Symmetry> {
        let layers = self.layers();
        let (tokens, rest) = layers.split_at(2);
        let mut stream =
            Units::outputs_of(&rest[0]).in_tokens(&tokens.concat()).made_by(&self.norm.parameters(), 0);
        let mut symmetries = Vec::new();
        for block in &self.blocks {
            let [norm1, qkv, projection, norm2, fc1, fc2] = block.layers();
            for (norm, layer, back) in [(norm1, qkv, projection), (norm2, fc1, fc2)] {
                stream = stream.made_by(&norm, 0).read_by(&layer, 0).made_by(&back, 0);
            }
            symmetries.extend(block.symmetries());
        }
        symmetries.push(stream.read_by_head(&self.head(1).parameters(), 0).into());
        symmetries
    }

    fn residual_stream(&self) -> Option<ResidualStream> {
        let layer = |parameters: &[Parameter]| KernelGroup::from_parameters(parameters).layer;
        Some(ResidualStream {
            channels: self.channels,
            tokens: vec!["cls_token".into(), "pos_embed".into()],
            patches: layer(&self.patches.parameters()),
            blocks: self.blocks.iter().map(|block| StreamBlock::new(block.heads, &block.layers())).collect(),
            norm: layer(&self.norm.parameters()),
            head: self.head_name().into(),
        })
    }
}

/// A pre-norm transformer block: attention and a two-layer MLP, each with a residual connection.
struct Block {
    heads: usize,
    norm1: LayerNorm,
    qkv: Linear,
    projection: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Block {
    fn new(name: &str, channels: usize) -> Self {
        let norm = |what: &str| LayerNorm::new(format!("{name}.{what}"), channels, EPS);
        let linear = |what: &str, inputs, outputs| {
            Linear::new(format!("{name}.{what}"), inputs, outputs).with_init(LINEAR.0, LINEAR.1)
        };
        Self {
            heads: channels / HEAD,
            norm1: norm("norm1"),
            qkv: linear("attn.qkv", channels, 3 * channels),
            projection: linear("attn.proj", channels, channels),
            norm2: norm("norm2"),
            fc1: linear("mlp.fc1", channels, EXPANSION * channels),
            fc2: linear("mlp.fc2", EXPANSION * channels, channels),
        }
    }

    fn layers(&self) -> [Vec<Parameter>; 6] {
        [
            self.norm1.parameters(),
            self.qkv.parameters(),
            self.projection.parameters(),
            self.norm2.parameters(),
            self.fc1.parameters(),
            self.fc2.parameters(),
        ]
    }

    /// Its heads, each with two sets: the channels of queries and keys, and the channels of values. And the hidden
    /// units of its MLP.
    fn symmetries(&self) -> [Symmetry; 2] {
        let channels = self.heads * HEAD;
        let [_, qkv, projection, _, fc1, fc2] = self.layers();
        let queries_and_keys = Units::new(HEAD).made_by(&qkv, 0).made_by(&qkv, channels);
        let values = Units::new(HEAD).made_by(&qkv, 2 * channels).read_by(&projection, 0);
        let heads = Symmetry { groups: self.heads, sets: vec![queries_and_keys, values] };
        [heads, Units::outputs_of(&fc1).read_by(&fc2, 0).into()]
    }

    /// Cost for `tokens` tokens, of which the first `kept` continue after attention.
    fn cost(&self, tokens: usize, kept: usize) -> Cost {
        let channels = self.heads * HEAD;
        let attended = self.norm1.cost(tokens) + self.qkv.cost(tokens) + attention_cost(tokens, channels);
        let inner =
            self.fc1.cost(kept) + Cost::elementwise(&[kept, EXPANSION * channels]) + self.fc2.cost(kept);
        attended + self.projection.cost(kept) + self.norm2.cost(kept) + inner
    }

    /// Attention output for each token of `x [n, tokens, channels]`.
    fn attend(&self, net: &Net<'_>, x: &Value) -> Result<Value> {
        attention(&self.qkv.forward(net, &self.norm1.forward(net, x)?)?, self.heads)
    }

    /// Output of the block, given tokens and their attention output.
    fn forward(&self, net: &Net<'_>, x: &Value, attended: &Value) -> Result<Value> {
        let x = self.projection.forward_added(net, attended, Some(x))?;
        let inner = gelu(&self.fc1.forward(net, &self.norm2.forward(net, &x)?)?)?;
        self.fc2.forward_added(net, &inner, Some(&x))
    }
}
