//! Backbones: networks with the parameter names of torchvision or timm.
//!
//! A backbone is a description: it declares its parameters and computes logits from *any* tensors with those names, so
//! one definition serves training, merged kernels and evaluation. To add one: a file here with a spec that implements
//! [`BackboneKind`], a `mod` line and a line in [`BackboneSpec`].

pub mod densenet;
pub mod resnet;
pub mod stream;
pub mod symmetry;
pub mod vit;

use std::ops::RangeInclusive;

use candle_core::Result;
use kind::{Kind, kinds};

use self::stream::ResidualStream;
use self::symmetry::Symmetry;
use nn::cost::Cost;
use nn::init::Parameter;
use nn::layer::Linear;
use nn::{Net, Value};

kinds! {
    /// The network architecture. The kind is the key.
    #[derive(Eq, Hash)]
    pub enum BackboneSpec: BackboneKind {
        /// ResNet-18 (He et al. 2016, arXiv 1512.03385), with torchvision's names.
        Resnet18(resnet::ResnetSpec),
        /// ResNet-34.
        Resnet34(resnet::ResnetSpec),
        /// ResNet-50.
        Resnet50(resnet::ResnetSpec),
        /// ResNet-101.
        Resnet101(resnet::ResnetSpec),
        Densenet121(densenet::DensenetSpec),
        /// ViT-Ti/16, 192 channels (Dosovitskiy et al. 2021, arXiv 2010.11929), with timm's names.
        VitTiny(vit::VitSpec),
        /// ViT-S/16, 384 channels.
        VitSmall(vit::VitSpec),
        /// ViT-B/16, 768 channels.
        VitBase(vit::VitSpec),
        /// DeiT-S/16 (Touvron et al. 2021, arXiv 2012.12877): the network of ViT-S/16.
        DeitSmall(vit::VitSpec),
        /// DeiT-B/16: the network of ViT-B/16.
        DeitBase(vit::VitSpec),
    }
}

/// What every kind of backbone declares; [`Display`](std::fmt::Display) writes its options on one line.
pub trait BackboneKind: Kind + std::fmt::Display {
    /// Builds the network; kinds that share a spec differ only by `kind`.
    fn network(&self, kind: &str) -> Box<dyn Backbone>;

    /// The Python library whose names the parameters have.
    fn library(&self) -> &'static str;

    /// Whether the library's function for this kind makes the same network without options.
    fn is_standard(&self) -> bool;

    /// How timm makes the network; `None` if it cannot.
    fn in_timm(&self, kind: &str) -> Option<InTimm>;

    /// Lines of Python that make the network as `model` with the library, with a classifier for so many classes, or
    /// without one for 0.
    fn in_python(&self, kind: &str, classes: usize) -> Vec<String>;
}

/// A network of timm with the names of the parameters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InTimm {
    /// Name of the architecture.
    pub architecture: String,
    /// Arguments that differ from those of the architecture.
    pub arguments: Vec<(&'static str, usize)>,
    /// Name of the first convolution.
    pub first_conv: &'static str,
}

impl BackboneSpec {
    /// Builds the network.
    pub fn build(&self) -> Box<dyn Backbone> {
        self.network(self.kind())
    }

    /// How timm makes the network; see [`BackboneKind::in_timm`].
    pub fn timm(&self) -> Option<InTimm> {
        self.in_timm(self.kind())
    }

    /// Lines of Python that make the network as `model`; see [`BackboneKind::in_python`].
    pub fn python(&self, classes: usize) -> Vec<String> {
        self.in_python(self.kind(), classes)
    }

    /// Why the library of the parameters' names refuses the tensors as they are, if it does.
    pub fn refusal(&self) -> Option<String> {
        let (kind, library) = (self.kind(), self.library());
        let refusal = || format!("not {library}'s standard {kind}, which refuses these tensors: {}", &**self);
        (!self.is_standard()).then(refusal)
    }
}

impl std::fmt::Display for BackboneSpec {
    /// The kind and its options, on one line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.kind(), &**self)
    }
}

/// A network without its classifier.
pub trait Backbone: Send + Sync {
    /// Every tensor of the state dict except those of the head, by depth from input to output: one entry for the first
    /// layers, and one for each block.
    fn depths(&self) -> Vec<Vec<Parameter>>;

    /// Every tensor of the state dict except those of the head.
    fn parameters(&self) -> Vec<Parameter> {
        self.depths().concat()
    }

    /// Images `[n, h, w, 3]` to features `[n, feature_size]`.
    ///
    /// # Errors
    /// A tensor is missing, or the images have an unsupported shape.
    fn features(&self, net: &Net<'_>, x: &Value) -> Result<Value>;

    /// Cost of computing the features of one image, given its side in pixels, as implemented here.
    fn cost(&self, image_size: usize) -> Cost;

    /// Length of the feature vector.
    fn feature_size(&self) -> usize;

    /// Supported image sides, in pixels.
    fn image_sizes(&self) -> RangeInclusive<usize> {
        1..=usize::MAX
    }

    /// Name of the classifier, a linear layer: `fc`, `classifier` or `head`.
    fn head_name(&self) -> &'static str;

    /// The groups of tensors that share merge weights.
    fn kernel_groups(&self) -> Vec<KernelGroup>;

    /// The permutation symmetries: which units may be permuted without changing the function.
    fn symmetries(&self) -> Vec<Symmetry>;

    /// The layers at its residual stream, if it is a pre-norm transformer.
    fn residual_stream(&self) -> Option<ResidualStream> {
        None
    }

    /// The classifier for `classes` classes.
    fn head(&self, classes: usize) -> Linear {
        Linear::new(self.head_name(), self.feature_size(), classes)
    }

    /// Images `[n, h, w, 3]` to logits `[n, classes]`.
    ///
    /// # Errors
    /// A tensor is missing, or the images have an unsupported shape.
    fn logits(&self, net: &Net<'_>, x: &Value, classes: usize) -> Result<Value> {
        self.head(classes).forward(net, &self.features(net, x)?)
    }

    /// Every tensor of the state dict for `classes` classes; without head if `None`.
    fn all_parameters(&self, classes: Option<usize>) -> Vec<Parameter> {
        let mut parameters = self.parameters();
        parameters.extend(classes.map(|classes| self.head(classes).parameters()).unwrap_or_default());
        parameters
    }
}

/// Tensors whose first dimension runs over the same kernels and which therefore share merge weights. A kernel is an
/// output channel of a convolution, with its bias and the affine parameters of the norm that follows, or an output row
/// of a linear layer with its bias. A norm that does not follow a single layer has one kernel per channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelGroup {
    /// Name of the layer with the kernels.
    pub layer: String,
    /// Number of kernels.
    pub kernels: usize,
    /// Names of the tensors.
    pub tensors: Vec<String>,
}

impl KernelGroup {
    /// The group of a layer and of the norm that follows; the first parameter holds the kernels.
    pub fn from_parameters(parameters: &[Parameter]) -> Self {
        let first = &parameters[0];
        let layer = first.name.strip_suffix(".weight").unwrap_or(&first.name);
        let trainable = parameters.iter().filter(|parameter| parameter.is_trainable());
        Self {
            layer: layer.to_string(),
            kernels: first.shape[0],
            tensors: trainable.map(|parameter| parameter.name.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod step_tests;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spec(text: &str) -> BackboneSpec {
        toml::from_str(text).unwrap()
    }

    /// 10⁹ multiply-adds for an image of 224 pixels with a head for ImageNet's 1000 classes.
    fn giga_multiply_adds(kind: &str) -> f64 {
        let backbone = spec(&format!("{kind} = {{}}")).build();
        (backbone.cost(224) + backbone.head(1000).cost(1)).multiply_adds as f64 / 1e9
    }

    fn assert_near(kind: &str, counted: f64, published: f64) {
        assert!((counted / published - 1.0).abs() < 0.02, "{kind}: {counted}, published {published}");
    }

    /// torchvision's `GIGA_FLOPS` of the weights of each model.
    #[test]
    fn residual_networks_cost_what_is_published() {
        let published = [("resnet18", 1.814), ("resnet34", 3.664), ("resnet50", 4.089), ("resnet101", 7.801)];
        for (kind, published) in published {
            assert_near(kind, giga_multiply_adds(kind), published);
        }
    }

    /// torchvision's value, minus three quarters of each transition's convolution, which is computed after the mean
    /// pool.
    #[test]
    fn a_dense_network_costs_what_is_published_less_what_is_saved() {
        let saved = [(56.0, 256.0), (28.0, 512.0), (14.0, 1024.0)]
            .map(|(side, channels): (f64, f64)| 0.75 * side.powi(2) * channels.powi(2) / 2.0 / 1e9);
        let saved: f64 = saved.iter().sum();
        assert_near("densenet121", giga_multiply_adds("densenet121"), 2.834 - saved);
    }

    /// Table 5 of DeiT (arXiv 2012.12877) and timm's benchmark, minus the layers after attention in the last block, for
    /// all tokens but the class token.
    #[test]
    fn transformers_cost_what_is_published_less_what_is_saved() {
        let published = [("deit_small", 384.0, 4.6), ("vit_small", 384.0, 4.6), ("vit_base", 768.0, 17.6)];
        for (kind, channels, published) in published {
            let saved = 196.0 * 9.0 * f64::powi(channels, 2) / 1e9;
            assert_near(kind, giga_multiply_adds(kind), published - saved);
        }
    }

    #[test]
    fn costs_are_counted_layer_by_layer() {
        let cost = spec("resnet18 = { stem = 'small', width = 1 }").build().cost(2);
        // Sides 2, 2, 1, 1, 1 of the first layer and the four stages, with 1, 1, 2, 4 and 8 channels. A convolution and
        // its norm have one result each; there are 1, 4, 5, 5 and 5 pairs, and the features.
        assert_eq!(cost.activations, 2 * (4 + 4 * 4 + 5 * 2 + 5 * 4 + 5 * 8) + 8);
        assert_eq!(cost.largest, 8);
    }

    proptest! {
        #[test]
        fn any_image_can_be_counted(size in any::<usize>(), small in 0..300usize) {
            let specs = ["resnet18.width = 4096", "resnet101.stem = 'small'", "densenet121.growth = 1024",
                "vit_base = { image_size = 4096, patch_size = 1 }"];
            for text in specs {
                let backbone = spec(text).build();
                let (cost, larger) = (backbone.cost(small), backbone.cost(size.max(small)));
                prop_assert!(cost.multiply_adds <= larger.multiply_adds);
                prop_assert!(cost.activations <= larger.activations && cost.largest <= larger.largest);
            }
        }
    }
}
