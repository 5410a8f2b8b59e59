//! Generalized linear mode connectivity (Theus et al. 2025, arXiv 2506.22712): the mean of vision transformers after
//! aligning them by all symmetries of a transformer, not only by permutations.
//!
//! | file | what |
//! |---|---|
//! | `network` | the canonical form of a transformer, and the maps of its stream |
//! | `units` | heads and hidden units: balanced bases, orthogonal maps |
//! | `matching` | weight matching |
//!
//! # Canonical form
//!
//! Let x `[d]` be a token of the residual stream, 1 the vector of ones, and C = I − 1 1ᵀ/d. A layer reads x through a
//! layer norm, as W (g ⊙ n(x) + b) + c, where n(x) = C x / √(‖C x‖²/d + ε). Each source is first written in another
//! form, with the same function:
//!
//! - Gains and shifts go into the reader: W diag(g) n(x) + (c + W b). The norm keeps weight 1 and bias 0.
//! - The stream is centered: since n(x) = n(C x) = C n(x), what is written may be multiplied by C, W by C from the right.
//! - Softmax ignores what is added to all of a query's scores, and its weights sum to 1: the bias of keys is dropped, and
//!   that of values, b_v, moves on to the projection: b_o + W_o b_v.
//! - For any invertible G, a head computes the same with queries G q and keys G⁻ᵀ k, and with values G v and outputs
//!   W_o G⁻¹. G is chosen so that both sides are equally large (`units`). Then only orthogonal G are left.
//!
//! # Symmetries
//!
//! For an orthogonal Q with Q 1 = 1 (so Qᵀ 1 = 1), Q C = C Q and ‖C Q x‖ = ‖C x‖, therefore n(Q x) = Q n(x). In canonical
//! form, what writes to the stream may be multiplied by Q and what reads it by Qᵀ from the right:
//!
//! ```text
//! W (Qᵀ n(Q x)) + c = W n(x) + c
//! ```
//!
//! So the paper's orthogonal symmetry of networks with RMS norm is exact for a layer norm without affine part, and the
//! merged model is a network of the same architecture. The others are an orthogonal map for queries and keys of each
//! head, one for its values, the order of heads, and the order of hidden units. Each source is mapped by all of them to
//! be closest to the first in canonical form; then they are averaged there.
//!
//! The final norm's affine part goes into the classifier. If the merged model has none, it is dropped: what a new
//! classifier can compute stays the same.

mod matching;
mod network;
mod units;

use backbone::BackboneSpec;
use backbone::stream::{ResidualStream, StreamBlock};
use candle_core::{Result, Tensor, bail};
use identity::Identity;
use kind::{Kind, Problems};
use model::head::shared_head;
use model::{Head, StageError};
use nn::StateDict;
use nn::cost::{product, sum};
use nn::init::Parameter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::network::Network;
use super::average::AverageSpec;
use super::method::{of_files, validate_shares};
use super::{KnownMerge, MergeMethod, MergeTensors, Merged, Merging, NamedTensors};

/// Networks in f64 that matching holds, as copies of an f32 model.
const HELD: u64 = 12;

/// The (weighted) mean of vision transformers after aligning their residual streams, heads and hidden units (generalized
/// linear mode connectivity, arXiv 2506.22712).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GlmcSpec {
    /// Weights of the sources, one per source, divided by their sum; equal if absent.
    pub weights: Option<Vec<f64>>,
}

impl Identity for GlmcSpec {}

impl Kind for GlmcSpec {}

impl MergeMethod for GlmcSpec {
    fn validate_for(&self, sources: usize, problems: &mut Problems) {
        validate_shares(self.weights.as_deref(), sources, problems);
    }

    fn head(&self, merge: &KnownMerge<'_>) -> std::result::Result<Option<Head>, Vec<String>> {
        stream(&merge.sources[0].backbone).map_err(|problem| vec![problem])?;
        Ok(shared_head(&merge.sources))
    }

    fn cost(&self, models: u64, merge: &KnownMerge<'_>) -> (u64, u64) {
        let operations = operations(&merge.sources[0].backbone);
        (models.saturating_add(HELD), product([models - 1, matching::ROUNDS, operations]))
    }

    fn needs_backbone(&self) -> bool {
        true
    }

    fn over_files(
        &self,
        sources: &[&dyn NamedTensors],
        backbone: Option<&BackboneSpec>,
    ) -> Result<Box<dyn MergeTensors>> {
        let stream = stream(of_files(backbone)?).map_err(candle_core::Error::msg)?;
        let head = have_one_head(sources, &stream)?;
        Ok(Box::new(self.build(sources, &stream, head)?))
    }

    fn merge(&self, merging: &Merging<'_>) -> std::result::Result<Merged, StageError> {
        let infos: Vec<_> = merging.sources.iter().map(|source| &source.info).collect();
        let stream = stream(&infos[0].backbone).map_err(StageError::Failed)?;
        let sources = merging.state_dicts();
        let sources: Vec<&dyn NamedTensors> = sources.into_iter().map(|source| source as _).collect();
        let merged = self.build(&sources, &stream, shared_head(&infos).is_some())?;
        merging.by_formula(&merged, false)
    }
}

impl GlmcSpec {
    /// Merge sources whose residual stream has these layers, with their classifiers if asked for.
    ///
    /// # Errors
    /// A tensor is missing or has another shape, or weights are not finite.
    pub fn build(&self, sources: &[&dyn NamedTensors], stream: &ResidualStream, head: bool) -> Result<Glmc> {
        let merged = self.merged(sources, stream, head)?;
        Ok(Glmc { merged: merged.weights(sources[0], stream)? })
    }

    /// The merged network, in canonical form.
    fn merged(&self, sources: &[&dyn NamedTensors], stream: &ResidualStream, head: bool) -> Result<Network> {
        let average = AverageSpec { weights: self.weights.clone() }.build(sources.len());
        let shares = average.shares();
        let reference = Network::read(sources[0], stream, head)?;
        let (mut merged, mut share) = (reference.clone(), shares[0]);
        for (source, &next) in sources[1..].iter().zip(&shares[1..]) {
            let aligned = matching::align(&reference, &Network::read(*source, stream, head)?)?;
            merged = Network::combined([(&merged, share), (&aligned, next)])?;
            share = 1.0;
        }
        Ok(merged)
    }
}

/// The layers at the residual stream of a backbone, or why it cannot be merged and what to do.
fn stream(backbone: &BackboneSpec) -> std::result::Result<ResidualStream, String> {
    backbone.build().residual_stream().ok_or_else(|| {
        format!(
            "`glmc` merges vision transformers (`vit_tiny`, `vit_small`, `vit_base`, `deit_small` and `deit_base`), \
             not {}; use `git_rebasin`",
            backbone.kind()
        )
    })
}

/// Whether all files have a classifier for the same number of classes.
fn have_one_head(sources: &[&dyn NamedTensors], stream: &ResidualStream) -> Result<bool> {
    for part in ["weight", "bias"] {
        let name = format!("{}.{part}", stream.head);
        let tensors =
            sources.iter().map(|source| source.tensor(&name)).collect::<Result<Option<Vec<_>>>>()?;
        if tensors.is_none_or(|all| all.iter().any(|tensor| tensor.dims() != all[0].dims())) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Multiply-adds of a round of matching, doubled, because they are in f64; 0 for a backbone that is refused.
fn operations(backbone: &BackboneSpec) -> u64 {
    let network = backbone.build();
    let Some(stream) = network.residual_stream() else { return 0 };
    let channels = stream.channels as u64;
    let size = |parameter: &Parameter| product(parameter.shape.iter().map(|&length| length as u64));
    let parameters = sum(network.parameters().iter().map(size));
    // the stream's products, and its map applied to every tensor
    let of_stream = sum([product([2, channels, parameters]), decomposition(channels)]);
    product([2, sum([of_stream, sum(stream.blocks.iter().map(|block| of_units(block, channels)))])])
}

/// Multiply-adds of matching the heads and hidden units of a block.
fn of_units(block: &StreamBlock, channels: u64) -> u64 {
    let (heads, hidden) = (block.heads as u64, block.hidden as u64);
    let size = channels / heads.max(1);
    let pair = sum([product([2, channels, size, size]), decomposition(size)]);
    let assignment = product([hidden, hidden, hidden]) / 6;
    sum([product([2, heads, heads, pair]), product([2, channels, hidden, hidden]), assignment])
}

/// Multiply-adds of a singular value decomposition.
fn decomposition(n: u64) -> u64 {
    product([20, n, n, n])
}

/// Σ_i w_i · T_i(S_i) in canonical form, where the shares w sum to 1 and the maps T_i align source i to the first.
pub struct Glmc {
    merged: StateDict,
}

impl MergeTensors for Glmc {
    fn merge(&self, name: &str, _: &[Tensor], _: Option<&Tensor>) -> Result<Tensor> {
        match self.merged.get(name) {
            Some(tensor) => Ok(tensor.clone()),
            None => bail!(
                "`{name}` is no tensor of the backbone, so `glmc` cannot align it; remove it from the files"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
