//! The numbers that a `learn_merge_weights` stage learnt.

use candle_core::{Result, bail};
use indexmap::IndexMap;

use crate::merge_method::learned::weights_name;
use crate::stage::MergeWeights;

/// What one stage learnt, and where it stands in its experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Learnt {
    /// The stage's name as written.
    pub stage: String,
    /// `name[axis=value,…]`, for messages.
    pub id: String,
    /// Values of the sweep axes that it depends on.
    pub at: IndexMap<String, String>,
    /// Names of the stages whose models are its sources, in their order.
    pub sources: Vec<String>,
    /// Every layer, in the order of the network.
    pub layers: Vec<LayerWeights>,
}

/// The numbers of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerWeights {
    /// The layer's name: `layer1.0.conv1`.
    pub layer: String,
    /// `[sources][kernels]`.
    pub weights: Vec<Vec<f32>>,
}

/// The numbers of every layer, in the order of the network.
///
/// # Errors
/// A layer of the backbone has no numbers.
pub fn layers(learnt: &MergeWeights) -> Result<Vec<LayerWeights>> {
    let groups = learnt.info.backbone.build().kernel_groups();
    let layer = |group: &crate::backbone::KernelGroup| match learnt.tensors.get(&weights_name(group)) {
        Some(weights) => Ok(LayerWeights { layer: group.layer.clone(), weights: weights.to_vec2()? }),
        None => bail!("no merge weights for layer `{}`", group.layer),
    };
    groups.iter().map(layer).collect()
}
