//! The trait of merge methods: number of sources, further inputs, measuring and merging.

use std::ops::RangeInclusive;

use dataset::{Dataset, SplitName};
use identity::Role;
use kind::{Kind, Problems};
use model::head::{remove_head, shared_head};
use model::{
    Artifact, Checkpoint, Context, Head, Known, KnownDataset, ModelInfo, Networks, StageError, Work,
};
use nn::StateDict;
use rand::seq::SliceRandom;
use rng::{Purpose, rng};

use crate::git_rebasin::Permutations;
use crate::{MergeTensors, NamedTensors, merge_in_memory};

/// A merge method.
pub trait MergeMethod: Kind {
    /// The accepted number of sources.
    fn takes(&self) -> RangeInclusive<usize> {
        2..=usize::MAX
    }

    /// Report values that do not fit this number of sources.
    fn validate_for(&self, sources: usize, problems: &mut Problems) {
        let _ = (sources, problems);
    }

    /// The value of the key `base`, the stage of the sources' common start; `None` if the method has no such key.
    fn common_start(&self) -> Option<&Option<String>> {
        None
    }

    /// The stage of the sources' common start, if given.
    fn base(&self) -> Option<&str> {
        self.common_start()?.as_deref()
    }

    /// Further input stages besides the sources, by role.
    fn inputs(&self) -> Vec<(Role, &str)> {
        self.base().map(|base| (Role::Base, base)).into_iter().collect()
    }

    /// Whether all sources must have been trained from the same start.
    fn needs_one_start(&self) -> bool {
        self.base().is_some()
    }

    /// The splits of the merge's data set that it measures on; empty if it measures nothing.
    fn splits(&self) -> &'static [SplitName] {
        &[]
    }

    /// The share of each source, summing to 1, if the method is a weighted mean of the sources' units.
    fn shares(&self, sources: usize) -> Option<Vec<f64>> {
        let _ = sources;
        None
    }

    /// Reasons why it cannot measure these sources on this data set, which has every split that it reads.
    fn unmeasurable(&self, merge: &KnownMerge<'_>, dataset: &KnownDataset<'_>) -> Vec<String> {
        let _ = (merge, dataset);
        Vec::new()
    }

    /// The head of the merged model, if it has one.
    ///
    /// # Errors
    /// The reasons why these models cannot be merged, each with what to do.
    fn head(&self, merge: &KnownMerge<'_>) -> Result<Option<Head>, Vec<String>> {
        let base = self.base().map(|name| merge.base(name)).transpose()?;
        Ok(shared_head(&[&merge.sources[..], base.as_slice()].concat()))
    }

    /// The number of model copies in memory while merging `models` models, and the multiply-adds of merging.
    fn cost(&self, models: u64, merge: &KnownMerge<'_>) -> (u64, u64) {
        let _ = merge;
        (models, 0)
    }

    /// The work of measuring, given the work of re-estimating batch norm's statistics once.
    fn measuring(&self, merge: &KnownMerge<'_>, reestimating: u64, networks: &mut Networks) -> Work {
        let _ = (merge, reestimating, networks);
        Work::default()
    }

    /// The formula for `sources` sources, if the method is a formula over their tensors alone.
    fn formula(&self, sources: usize) -> Option<Box<dyn MergeTensors>> {
        let _ = sources;
        None
    }

    /// Whether the method is not a formula but can merge files of tensors whose backbone is known.
    fn needs_backbone(&self) -> bool {
        false
    }

    /// The method for the tensors of these files; `backbone` is given if the method [needs one](Self::needs_backbone).
    ///
    /// # Errors
    /// The method needs more than tensors, or a tensor operation failed.
    fn over_files(
        &self,
        sources: &[&dyn NamedTensors],
        backbone: Option<&backbone::BackboneSpec>,
    ) -> candle_core::Result<Box<dyn MergeTensors>> {
        let _ = backbone;
        let more = || candle_core::Error::Msg("the method needs more than files of tensors".into());
        self.formula(sources.len()).ok_or_else(more)
    }

    /// Merge the sources.
    ///
    /// # Errors
    /// Measuring or merging failed, or the user interrupted.
    fn merge(&self, merging: &Merging<'_>) -> Result<Merged, StageError> {
        let formula = self.formula(merging.sources.len());
        let missing =
            || StageError::Failed("the method has neither a formula nor a `merge` of its own".into());
        merging.by_formula(&*formula.ok_or_else(missing)?, self.base().is_some())
    }
}

/// The required number of sources, in words.
pub fn needs(takes: &RangeInclusive<usize>) -> String {
    let noun = |count: usize| if count == 1 { "source" } else { "sources" };
    match (*takes.start(), *takes.end()) {
        (least, usize::MAX) => format!("{least} {} or more", noun(least)),
        (least, most) if least == most => format!("exactly {least} {}", noun(least)),
        (least, most) => format!("{least} to {most} sources"),
    }
}

/// What is known about a merge before it runs.
pub struct KnownMerge<'a> {
    /// What is known about the stage: the sources first, then the method's own inputs.
    pub known: &'a Known<'a>,
    /// Stages of the sources, as named in the experiment file.
    pub names: &'a [String],
    /// The sources.
    pub sources: Vec<&'a ModelInfo>,
}

impl<'a> KnownMerge<'a> {
    /// The common start called `name`, the first input after the sources.
    ///
    /// # Errors
    /// It is not a model with the sources' backbone and normalization.
    pub fn base(&self, name: &str) -> Result<&'a ModelInfo, Vec<String>> {
        let (base, source) = (self.known.model(self.sources.len())?, self.sources[0]);
        if base.backbone != source.backbone {
            return Err(vec![format!(
                "`base = \"{name}\"` has the backbone {}, but the sources have {}; name the model that the sources \
                 were trained from",
                base.backbone, source.backbone
            )]);
        }
        if base.normalize != source.normalize {
            return Err(vec![format!(
                "`base = \"{name}\"` differs from the sources in `normalize`; name the model \
                 that the sources were trained from"
            )]);
        }
        Ok(base)
    }
}

/// A running merge.
pub struct Merging<'a> {
    /// The stage's context: the sources are its first inputs, then the method's own.
    pub context: &'a Context<'a>,
    /// The sources.
    pub sources: Vec<&'a Checkpoint>,
    /// Stages of the sources, as named in the experiment file.
    pub names: &'a [String],
    /// Whether batch norm's statistics will be re-estimated.
    pub reestimates: bool,
}

/// The result of a merge method.
pub struct Merged {
    /// The merged tensors; those of a classifier only if `head` is set.
    pub tensors: StateDict,
    /// The head of the merged model.
    pub head: Option<Head>,
    /// The permutation of each source, if the method permutes.
    pub permutations: Vec<Permutations>,
}

impl<'a> Merging<'a> {
    /// The sources' tensors.
    pub fn state_dicts(&self) -> Vec<&'a StateDict> {
        self.sources.iter().map(|source| &source.tensors).collect()
    }

    /// The artifact of the method's own input `i`.
    pub fn input(&self, i: usize) -> &'a Artifact {
        &self.context.inputs[self.sources.len() + i]
    }

    /// The merge's data set.
    pub fn dataset(&self) -> &'a Dataset {
        &self.context.datasets[0]
    }

    /// Indices of at most `images` images to measure on, from a split of `n`; drawn once, the same for all sources and
    /// merges.
    pub fn drawn(&self, n: usize, images: usize) -> Vec<usize> {
        let mut positions: Vec<usize> = (0..n).collect();
        positions.shuffle(&mut rng(0, Purpose::Measure, 0, 0));
        positions.truncate(images);
        positions
    }

    /// Merge name by name, with the head if all models share it. Heads that they do not share are left out.
    ///
    /// # Errors
    /// A tensor operation failed, or the method knows nothing of a tensor.
    pub fn by_formula(&self, method: &dyn MergeTensors, with_base: bool) -> Result<Merged, StageError> {
        let base = with_base.then(|| self.context.model(self.sources.len())).transpose()?;
        let models = self.sources.iter().copied().chain(base);
        let head = shared_head(&models.clone().map(|model| &model.info).collect::<Vec<_>>());
        let mergeable = |model: &Checkpoint| {
            let mut tensors = model.tensors.clone();
            if head.is_none() {
                remove_head(&mut tensors, &model.info.backbone);
            }
            tensors
        };
        let models: Vec<StateDict> = models.map(mergeable).collect();
        let (sources, base) = models.split_at(self.sources.len());
        let tensors = merge_in_memory(method, &sources.iter().collect::<Vec<_>>(), base.first())?;
        Ok(Merged { tensors, head, permutations: vec![Permutations::default(); sources.len()] })
    }
}

/// The backbone of files, for a method that needs it.
///
/// # Errors
/// It is unknown.
pub(crate) fn of_files(
    backbone: Option<&backbone::BackboneSpec>,
) -> candle_core::Result<&backbone::BackboneSpec> {
    backbone.ok_or_else(|| candle_core::Error::Msg("the backbone of the files is unknown".into()))
}

/// Report weights if there is not one per source or their sum is not positive.
pub(crate) fn validate_shares(weights: Option<&[f64]>, sources: usize, problems: &mut Problems) {
    let Some(weights) = weights else { return };
    if weights.len() != sources {
        let message = format!("{} weights for {sources} sources; give one per source", weights.len());
        problems.add("weights", message, None);
    }
    let sum: f64 = weights.iter().sum();
    if sum <= 0.0 || !sum.is_finite() {
        problems.add("weights", format!("the weights must have a positive sum, not {sum}"), None);
    }
}
