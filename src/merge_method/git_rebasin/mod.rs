//! Git Re-Basin (Ainsworth, Hayase and Srinivasa 2023, arXiv 2209.04836): the mean of networks whose units were put in
//! the same order first.
//!
//! | file | what |
//! |---|---|
//! | [`matching`] | weight matching: the best order of one network's units beside another's |
//! | [`assignment`] | the linear assignment problem |
//! | [`permutations`] | orders of units, as permutations of named tensors |
//!
//! The symmetries are the backbone's to declare
//! ([`Backbone::symmetries`](backbone::Backbone::symmetries)). More than two sources are all aligned to the
//! first.

pub mod assignment;
pub mod matching;
pub mod permutations;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::average::{Average, AverageSpec};
use super::{MergeTensors, NamedTensors};
use backbone::symmetry::Symmetry;

pub use matching::{align, operations};
pub use permutations::Permutations;

/// Options of Git Re-Basin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GitRebasinSpec {
    /// Seed of the order in which symmetries are looked at, on which the result may depend.
    pub seed: u64,
    /// One number a source; equal shares if absent. They are divided by their sum.
    pub weights: Option<Vec<f64>>,
}

impl GitRebasinSpec {
    /// Align sources to the first of them.
    ///
    /// # Errors
    /// As of [`align`].
    pub fn of(&self, sources: &[&dyn NamedTensors], symmetries: &[Symmetry]) -> Result<GitRebasin> {
        let others = sources[1..].iter();
        let aligned = others.map(|other| align(sources[0], *other, symmetries, self.seed));
        Ok(GitRebasin {
            permutations: std::iter::once(Ok(Permutations::default()))
                .chain(aligned)
                .collect::<Result<_>>()?,
            average: self.average().of(sources.len()),
        })
    }

    /// What is done once the sources are aligned.
    pub fn average(&self) -> AverageSpec {
        AverageSpec { weights: self.weights.clone() }
    }
}

/// Σ_i w_i · P_i(S_i) with shares w that add up to 1 and the permutations P_i that align source i to the first.
pub struct GitRebasin {
    average: Average,
    permutations: Vec<Permutations>,
}

impl GitRebasin {
    /// How each source is permuted; the first is not.
    pub fn into_permutations(self) -> Vec<Permutations> {
        self.permutations
    }
}

impl MergeTensors for GitRebasin {
    fn merge(&self, name: &str, sources: &[Tensor], base: Option<&Tensor>) -> Result<Tensor> {
        let aligned = self.permutations.iter().zip(sources).map(|(p, source)| p.apply(name, source));
        self.average.merge(name, &aligned.collect::<Result<Vec<_>>>()?, base)
    }

    /// Running statistics move with the channels that they are of.
    fn merges_statistics(&self) -> bool {
        true
    }
}
