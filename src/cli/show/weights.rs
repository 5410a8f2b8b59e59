//! Statistics of merge weights, layer by layer.

use candle_core::Result;

use crate::figure::learned::layers;
use crate::figure::{SourceStatistics, statistics};
use crate::nn::StateDict;
use crate::stage::{MergeWeights, ModelInfo};
use crate::store::Lineage;

/// Statistics of one source in one layer.
pub(super) struct SourceWeights {
    pub(super) layer: String,
    /// Name of the source's stage if known, otherwise its role.
    pub(super) source: String,
    /// Number of its merge weights: of its kernels, or of their slices if these have their own.
    pub(super) kernels: usize,
    pub(super) of_slices: bool,
    pub(super) of: SourceStatistics,
}

/// Statistics in network order, for each layer source by source.
///
/// # Errors
/// The tensors are not merge weights for this model.
pub(super) fn source_weights(
    info: ModelInfo,
    tensors: StateDict,
    lineage: &Lineage,
) -> Result<Vec<SourceWeights>> {
    let mut all = Vec::new();
    for layer in layers(&MergeWeights { info, tensors, history: Vec::new() })? {
        let of_slices = layer.of_slices;
        for (source, of) in statistics(&layer.weights).into_iter().enumerate() {
            let (name, kernels) = (name(lineage, source), layer.weights[source].len());
            all.push(SourceWeights { layer: layer.layer.clone(), source: name, kernels, of_slices, of });
        }
    }
    Ok(all)
}

fn name(lineage: &Lineage, source: usize) -> String {
    let role = identity::Role::Source(source);
    let inputs = lineage.known.get(&lineage.root).map(|origin| origin.inputs()).unwrap_or_default();
    let input = inputs.into_iter().find(|(of, _)| *of == role);
    let origin = input.and_then(|(_, fingerprint)| lineage.known.get(&fingerprint));
    origin.and_then(|origin| origin.names.first().cloned()).unwrap_or_else(|| role.to_string())
}
