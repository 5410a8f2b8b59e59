//! Git Re-Basin (Ainsworth, Hayase and Srinivasa 2023, arXiv 2209.04836): the mean of networks after permuting their
//! units into the same order.
//!
//! | file | what |
//! |---|---|
//! | [`matching`] | weight matching: the order of one network's units closest to another network |
//! | [`assignment`] | the linear assignment problem |
//! | [`permutations`] | permutations of named tensors |
//!
//! The symmetries are declared by the backbone ([`Backbone::symmetries`](backbone::Backbone::symmetries)). All sources
//! are aligned to the first.

pub mod assignment;
pub mod matching;
pub mod permutations;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use backbone::BackboneSpec;
use backbone::symmetry::Symmetry;
use candle_core::{Result, Tensor};
use identity::Identity;
use kind::{Kind, Problems};
use model::StageError;
use model::head::{remove_head, shared_head};
use nn::StateDict;
use nn::cost::product;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::average::{Average, AverageSpec};
use super::method::{of_files, validate_shares};
use super::{KnownMerge, MergeMethod, MergeTensors, Merged, Merging, NamedTensors};

pub use matching::{align, operations};
pub use permutations::Permutations;

/// Approximate number of rounds to align two networks; doubled, because they compute in f64.
const ROUNDS: u64 = 6;

/// The (weighted) mean of sources after permuting their units into the same order (Git Re-Basin, arXiv 2209.04836).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GitRebasinSpec {
    /// Seed of the order in which symmetries are matched, on which the result may depend.
    pub seed: u64,
    /// Weights of the sources, one per source, divided by their sum; equal if absent.
    pub weights: Option<Vec<f64>>,
}

impl Identity for GitRebasinSpec {}

impl Kind for GitRebasinSpec {}

impl MergeMethod for GitRebasinSpec {
    fn validate_for(&self, sources: usize, problems: &mut Problems) {
        validate_shares(self.weights.as_deref(), sources, problems);
    }

    fn shares(&self, sources: usize) -> Option<Vec<f64>> {
        Some(self.average().build(sources).shares().to_vec())
    }

    /// Memory also holds a permuted copy of one source.
    fn cost(&self, models: u64, merge: &KnownMerge<'_>) -> (u64, u64) {
        let backbone = merge.sources[0].backbone.build();
        let matching = operations(&backbone.symmetries(), &backbone.parameters());
        (models.saturating_add(1), product([models - 1, ROUNDS, matching]))
    }

    fn needs_backbone(&self) -> bool {
        true
    }

    fn over_files(
        &self,
        sources: &[&dyn NamedTensors],
        backbone: Option<&BackboneSpec>,
    ) -> Result<Box<dyn MergeTensors>> {
        Ok(Box::new(self.build(sources, &of_files(backbone)?.build().symmetries())?))
    }

    fn merge(&self, merging: &Merging<'_>) -> std::result::Result<Merged, StageError> {
        let aligned = self.aligned(merging)?;
        let merged = merging.by_formula(&aligned, false)?;
        Ok(Merged { permutations: aligned.into_permutations(), ..merged })
    }
}

impl GitRebasinSpec {
    /// Align sources to the first of them.
    ///
    /// # Errors
    /// See [`align`].
    pub fn build(&self, sources: &[&dyn NamedTensors], symmetries: &[Symmetry]) -> Result<GitRebasin> {
        let others = sources[1..].iter();
        let aligned = others.map(|other| align(sources[0], *other, symmetries, self.seed));
        Ok(GitRebasin {
            permutations: std::iter::once(Ok(Permutations::default()))
                .chain(aligned)
                .collect::<Result<_>>()?,
            average: self.average().build(sources.len()),
        })
    }

    /// Align the sources of a merge to the first of them. Heads of different data sets carry no information about which
    /// units correspond.
    ///
    /// # Errors
    /// See [`align`].
    pub(crate) fn aligned(&self, merging: &Merging<'_>) -> Result<GitRebasin> {
        let infos: Vec<_> = merging.sources.iter().map(|source| &source.info).collect();
        let mut bodies: Vec<StateDict> = merging.state_dicts().into_iter().cloned().collect();
        if shared_head(&infos).is_none() {
            bodies.iter_mut().for_each(|body| remove_head(body, &infos[0].backbone));
        }
        let bodies: Vec<&dyn NamedTensors> = bodies.iter().map(|body| body as &dyn NamedTensors).collect();
        self.build(&bodies, &infos[0].backbone.build().symmetries())
    }

    /// The average to take after alignment.
    pub fn average(&self) -> AverageSpec {
        AverageSpec { weights: self.weights.clone() }
    }
}

/// Σ_i w_i · P_i(S_i), where the shares w sum to 1 and the permutations P_i align source i to the first.
pub struct GitRebasin {
    average: Average,
    permutations: Vec<Permutations>,
}

impl GitRebasin {
    /// The permutation of each source; the first is the identity.
    pub fn into_permutations(self) -> Vec<Permutations> {
        self.permutations
    }
}

impl MergeTensors for GitRebasin {
    fn merge(&self, name: &str, sources: &[Tensor], base: Option<&Tensor>) -> Result<Tensor> {
        let aligned = self.permutations.iter().zip(sources).map(|(p, source)| p.apply(name, source));
        self.average.merge(name, &aligned.collect::<Result<Vec<_>>>()?, base)
    }

    /// Running statistics are permuted with their channels.
    fn merges_statistics(&self) -> bool {
        true
    }
}
