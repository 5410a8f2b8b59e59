//! The residual stream of a pre-norm transformer: which layers write to it and which read it.
//!
//! Layers read the stream through a layer norm, so any orthogonal map of it that fixes the vector of ones leaves the
//! function unchanged, not only the permutations of [`symmetry`](crate::symmetry).

use nn::init::Parameter;

use crate::KernelGroup;

/// The layers at the residual stream of a pre-norm transformer, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResidualStream {
    /// Number of channels.
    pub channels: usize,
    /// Learned tokens `[1, n, channels]`, added to the stream at its start.
    pub tokens: Vec<String>,
    /// The convolution that makes tokens of patches.
    pub patches: String,
    /// The blocks, from input to output.
    pub blocks: Vec<StreamBlock>,
    /// The layer norm after the last block.
    pub norm: String,
    /// The classifier, which reads this norm.
    pub head: String,
}

/// The layers of a block. Each norm's only reader is the layer that follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamBlock {
    /// Number of attention heads.
    pub heads: usize,
    /// Number of hidden units of the MLP.
    pub hidden: usize,
    /// Layer norm before attention.
    pub norm1: String,
    /// Queries, keys and values, in this order, each the concatenation of the heads.
    pub qkv: String,
    /// The layer that writes the attention output to the stream.
    pub projection: String,
    /// Layer norm before the MLP.
    pub norm2: String,
    /// First layer of the MLP.
    pub fc1: String,
    /// Second layer of the MLP, which writes to the stream.
    pub fc2: String,
}

impl StreamBlock {
    /// A block with the parameters of these layers, in the order of the fields.
    pub(crate) fn new(heads: usize, layers: &[Vec<Parameter>; 6]) -> Self {
        let [norm1, qkv, projection, norm2, fc1, fc2] =
            layers.each_ref().map(|parameters| KernelGroup::from_parameters(parameters).layer);
        Self { heads, hidden: layers[4][0].shape[0], norm1, qkv, projection, norm2, fc1, fc2 }
    }
}
