//! Backbones: networks with torchvision's / timm's parameter names.
//!
//! A backbone is a description: it declares its parameters and computes logits from *any* tensors of
//! those names, so one definition serves training, merged kernels and evaluation. To add one: a file
//! here, a `mod` line, a variant of [`BackboneSpec`] and its arm in [`BackboneSpec::build`].

pub mod resnet;

use serde::{Deserialize, Serialize};

/// A network's architecture. The kind is the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackboneSpec {
    /// ResNet-18 (He et al. 2016, arXiv 1512.03385).
    Resnet18(resnet::ResnetSpec),
}
