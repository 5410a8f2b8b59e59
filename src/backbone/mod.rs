//! Backbones: networks with torchvision's / timm's parameter names.
//!
//! A backbone is a description: it declares its parameters and computes logits from *any* tensors of
//! those names, so one definition serves training, merged kernels and evaluation. To add one: a file
//! here, a `mod` line, a variant of [`BackboneSpec`] and its arm in [`BackboneSpec::build`].

pub mod resnet;

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::nn::Net;
use crate::nn::init::Parameter;
use crate::nn::layer::Linear;

/// A network's architecture. The kind is the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackboneSpec {
    /// ResNet-18 (He et al. 2016, arXiv 1512.03385).
    Resnet18(resnet::ResnetSpec),
}

impl BackboneSpec {
    /// The network that it describes.
    pub fn build(&self) -> Box<dyn Backbone> {
        match self {
            Self::Resnet18(spec) => Box::new(resnet::Resnet::eighteen(spec)),
        }
    }

    /// The kind as it is written in an experiment file.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Resnet18(_) => "resnet18",
        }
    }
}

impl std::fmt::Display for BackboneSpec {
    /// The kind with its options, in one line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Resnet18(spec) => write!(f, "resnet18 ({spec})"),
        }
    }
}

/// What every backbone can do.
pub trait Backbone: Send + Sync {
    /// Every tensor of its state_dict but the head's.
    fn parameters(&self) -> Vec<Parameter>;

    /// Images `[n, h, w, 3]` to features `[n, feature_size]`.
    ///
    /// # Errors
    /// A missing tensor, or images that it cannot take.
    fn features(&self, net: &Net<'_>, x: &Tensor) -> Result<Tensor>;

    /// Numbers in a feature vector.
    fn feature_size(&self) -> usize;

    /// Name of the classifier, a linear layer: `fc`, `classifier`, `head`.
    fn head_name(&self) -> &'static str;

    /// What shares merge weights: every convolution with the norm that follows it.
    fn kernel_groups(&self) -> Vec<KernelGroup>;

    /// The classifier for a number of classes.
    fn head(&self, classes: usize) -> Linear {
        Linear::new(self.head_name(), self.feature_size(), classes)
    }

    /// Every tensor of the state_dict of a network with so many classes; without head if `None`.
    fn all_parameters(&self, classes: Option<usize>) -> Vec<Parameter> {
        let mut parameters = self.parameters();
        parameters.extend(classes.map(|classes| self.head(classes).parameters()).unwrap_or_default());
        parameters
    }
}

/// Tensors whose first dimension runs over the same kernels, so that they share merge weights: a kernel is
/// one output channel of a convolution, with its bias and the affine part of the norm that follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelGroup {
    /// Name of the layer that holds the kernels.
    pub layer: String,
    /// Number of kernels.
    pub kernels: usize,
    /// Names of the tensors.
    pub tensors: Vec<String>,
}
