//! PLeaS (Nasery et al. 2024, "Permutations and least squares", arXiv 2407.02447): permute the sources to the first,
//! then fit each linear map to the mean of their outputs.
//!
//! | file | what |
//! |---|---|
//! | `alignment` | the permutations, by weights or by activations |
//! | [`least_squares`] | the fit of each layer |
//!
//! This is the paper's full merge, of the width of one source. Norms are averaged after permuting, as are embeddings.

pub(crate) mod alignment;
pub mod least_squares;

use candle_core::{Result, Tensor};
use dataset::SplitName;
use identity::Identity;
use kind::{Kind, Problems};
use model::{KnownDataset, Networks, StageError, Work};
use nn::StateDict;
use nn::cost::sum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::combination::mean;
use super::git_rebasin::{GitRebasinSpec, Permutations};
use super::{KnownMerge, MergeMethod, MergeTensors, Merged, Merging, features};

/// Sources permuted to the first, then a least-squares fit of each layer to the mean of their outputs (PLeaS, arXiv
/// 2407.02447).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PleasSpec {
    /// How units are matched.
    pub matching: Matching,
    /// Number of training images to measure on; all if there are fewer.
    pub images: usize,
    /// Ridge that draws the weights to the mean of the permuted sources, relative to the mean square of each input; from
    /// 1e-9 to 1e9.
    pub ridge: f64,
}

/// How the units of two networks are matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    /// By their weights, as in `git_rebasin`.
    #[default]
    Weights,
    /// By their activations on training images.
    Activations,
}

impl Default for PleasSpec {
    /// `images` and `ridge` are our choice, as in `regmean`: the authors descend on gradients for some hundred steps.
    fn default() -> Self {
        Self { matching: Matching::Weights, images: 256, ridge: 1e-6 }
    }
}

impl Identity for PleasSpec {}

impl Kind for PleasSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.at_least("images", self.images, 1);
        problems.check("ridge", self.ridge, (1e-9..=1e9).contains(&self.ridge), "from 1e-9 to 1e9");
    }
}

impl MergeMethod for PleasSpec {
    fn splits(&self) -> &'static [SplitName] {
        &[SplitName::Train]
    }

    fn unmeasurable(&self, merge: &KnownMerge<'_>, _: &KnownDataset<'_>) -> Vec<String> {
        match self.matching {
            Matching::Weights => Vec::new(),
            Matching::Activations => {
                let method = "`pleas` with `matching = \"activations\"`";
                let unmatchable = features::unmatchable(method, merge);
                unmatchable.map(|problem| problem + " or `matching = \"weights\"`").into_iter().collect()
            }
        }
    }

    /// Memory also holds the permuted sources.
    fn cost(&self, models: u64, merge: &KnownMerge<'_>) -> (u64, u64) {
        let matching = match self.matching {
            Matching::Weights => GitRebasinSpec::default().cost(models, merge).1,
            Matching::Activations => 0,
        };
        (models.saturating_mul(2), matching)
    }

    fn measuring(&self, merge: &KnownMerge<'_>, _: u64, networks: &mut Networks) -> Work {
        let dataset = &merge.known.datasets[0];
        let fitting = least_squares::work(self, &merge.sources, dataset, networks);
        let matching = match self.matching {
            Matching::Weights => Work::default(),
            Matching::Activations => features::work(self.images, &merge.sources, dataset, networks),
        };
        Work {
            operations: sum([fitting.operations, matching.operations]),
            memory_bytes: fitting.memory_bytes.max(matching.memory_bytes),
            ..Work::default()
        }
    }

    fn merge(&self, merging: &Merging<'_>) -> std::result::Result<Merged, StageError> {
        let permutations = alignment::permutations(self, merging)?;
        let sources = merging.state_dicts();
        let aligned =
            permutations.iter().zip(sources).map(|(permutation, source)| permutation.apply_to_all(source));
        let aligned = aligned.collect::<Result<Vec<_>>>()?;
        let fitted = least_squares::fitted(self, merging, &aligned)?;
        let pleas = Pleas { permutations, fitted };
        let merged = merging.by_formula(&pleas, false)?;
        Ok(Merged { permutations: pleas.permutations, ..merged })
    }
}

/// Fitted tensors, and the mean over permuted sources of all others.
pub struct Pleas {
    /// The permutation of each source.
    pub permutations: Vec<Permutations>,
    /// The fitted tensors, by name.
    pub fitted: StateDict,
}

impl MergeTensors for Pleas {
    fn merge(&self, name: &str, sources: &[Tensor], _: Option<&Tensor>) -> Result<Tensor> {
        if let Some(fitted) = self.fitted.get(name) {
            return Ok(fitted.clone());
        }
        let aligned = self.permutations.iter().zip(sources).map(|(p, source)| p.apply(name, source));
        mean(&aligned.collect::<Result<Vec<_>>>()?)
    }

    /// Running statistics are permuted with their channels.
    fn merges_statistics(&self) -> bool {
        true
    }
}
