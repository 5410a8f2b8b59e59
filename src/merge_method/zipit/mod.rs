//! ZipIt! (Stoica et al. 2024, arXiv 2305.03053): units of all sources that are correlated on the target's images become
//! one, also two units of one source.
//!
//! | file | what |
//! |---|---|
//! | [`matching`] | the greedy rule: which units become one |
//! | [`maps`] | merging the tensors accordingly |
//!
//! The whole network is merged into one of the same width. `features` says where units are measured.

pub mod maps;
pub mod matching;

use dataset::SplitName;
use identity::Identity;
use kind::{Kind, Problems};
use model::{KnownDataset, Networks, StageError, Work};
use nn::cost::{product, sum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::maps::Zipped;
use self::matching::{Options, groups};
use super::{KnownMerge, MergeMethod, Merged, Merging, features};

/// The units of all sources that are most correlated become one, also two units of one source (ZipIt!, arXiv
/// 2305.03053).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ZipitSpec {
    /// Number of training images to measure correlations on; all if there are fewer.
    pub images: usize,
    /// Factor α of the correlations of a merged unit, above 0, up to 1; the smaller, the fewer units are merged more than
    /// once.
    pub alpha: f64,
    /// Fraction β of each source's share of the merges that may be of two of its own units, from 0 to 1.
    pub beta: f64,
}

impl Default for ZipitSpec {
    /// `alpha` and `beta` are those of the authors' program; `images` is our choice.
    fn default() -> Self {
        Self { images: 256, alpha: 0.3, beta: 0.125 }
    }
}

impl Identity for ZipitSpec {}

impl Kind for ZipitSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.at_least("images", self.images, 1);
        problems.fraction_above_0("alpha", self.alpha);
        problems.fraction("beta", self.beta);
    }
}

impl MergeMethod for ZipitSpec {
    fn splits(&self) -> &'static [SplitName] {
        &[SplitName::Train]
    }

    fn unmeasurable(&self, merge: &KnownMerge<'_>, _: &KnownDataset<'_>) -> Vec<String> {
        features::unmatchable("`zipit`", merge).into_iter().collect()
    }

    /// The merged model is made from the sources; the greedy rule looks at all pairs of units a few times.
    fn cost(&self, models: u64, merge: &KnownMerge<'_>) -> (u64, u64) {
        let sets = features::unit_sets(merge.sources[0].backbone.build().symmetries()).unwrap_or_default();
        let pairs = sets.iter().map(|set| {
            let units = product([models, set.size as u64]);
            product([4, units, units])
        });
        (models, sum(pairs))
    }

    fn measuring(&self, merge: &KnownMerge<'_>, _: u64, networks: &mut Networks) -> Work {
        features::work(self.images, &merge.sources, &merge.known.datasets[0], networks)
    }

    fn merge(&self, merging: &Merging<'_>) -> Result<Merged, StageError> {
        let symmetries = merging.sources[0].info.backbone.build().symmetries();
        let sets = features::unit_sets(symmetries).map_err(StageError::Failed)?;
        let options = Options { alpha: self.alpha, beta: self.beta };
        let mut zipped = Zipped::default();
        features::measure(merging, &sets, self.images, |set, moments| {
            let found = groups(moments.correlations(), moments.sources, moments.units, options);
            zipped.add(&set.places, &found);
            Ok(())
        })?;
        merging.by_formula(&zipped, false)
    }
}
