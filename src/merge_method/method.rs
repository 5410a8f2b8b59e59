//! What every merge method declares: how many sources it takes, what it needs beside them, what it measures, and how it
//! merges.

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

/// Everything about a merge method.
pub trait MergeMethod: Kind {
    /// How many sources it takes.
    fn takes(&self) -> RangeInclusive<usize> {
        2..=usize::MAX
    }

    /// Reports values that do not fit so many sources.
    fn validate_for(&self, sources: usize, problems: &mut Problems) {
        let _ = (sources, problems);
    }

    /// The key `base`, the stage of the sources' common start; `None` if the method needs none.
    fn common_start(&self) -> Option<&Option<String>> {
        None
    }

    /// The stage of the sources' common start, if it is named.
    fn base(&self) -> Option<&str> {
        self.common_start()?.as_deref()
    }

    /// The stages that it takes from beside the sources, by role.
    fn inputs(&self) -> Vec<(Role, &str)> {
        self.base().map(|base| (Role::Base, base)).into_iter().collect()
    }

    /// Whether all sources must have been trained from one start.
    fn needs_one_start(&self) -> bool {
        self.base().is_some()
    }

    /// The splits of the merge's data set that it measures on; none if it measures nothing.
    fn splits(&self) -> &'static [SplitName] {
        &[]
    }

    /// Each source's share, which add up to 1, if the method is a weighted mean of the sources' units.
    fn shares(&self, sources: usize) -> Option<Vec<f64>> {
        let _ = sources;
        None
    }

    /// Why it cannot measure these sources on this data set, which has every split that it reads.
    fn unmeasurable(&self, merge: &KnownMerge<'_>, dataset: &KnownDataset<'_>) -> Vec<String> {
        let _ = (merge, dataset);
        Vec::new()
    }

    /// The head of the merged model, if it has one.
    ///
    /// # Errors
    /// Why these models cannot be merged by it: sentences for a person, each with what to do.
    fn head(&self, merge: &KnownMerge<'_>) -> Result<Option<Head>, Vec<String>> {
        let base = self.base().map(|name| merge.base(name)).transpose()?;
        Ok(shared_head(&[&merge.sources[..], base.as_slice()].concat()))
    }

    /// Copies of a model that are in memory while so many models are merged, and multiply-adds of merging them.
    fn cost(&self, models: u64, merge: &KnownMerge<'_>) -> (u64, u64) {
        let _ = merge;
        (models, 0)
    }

    /// What measuring adds to a merge's work, given that of re-estimating batch norm's statistics once.
    fn measuring(&self, merge: &KnownMerge<'_>, reestimating: u64, networks: &mut Networks) -> Work {
        let _ = (merge, reestimating, networks);
        Work::default()
    }

    /// The formula for so many sources, if the method is one over their tensors and needs nothing else.
    fn formula(&self, sources: usize) -> Option<Box<dyn MergeTensors>> {
        let _ = sources;
        None
    }

    /// Whether the method can merge files of tensors whose backbone is known, though it is no formula.
    fn needs_backbone(&self) -> bool {
        false
    }

    /// The method for these files' tensors; `backbone` is given if it [needs one](Self::needs_backbone).
    ///
    /// # Errors
    /// It needs more than tensors, or a tensor operation failed.
    fn over_files(
        &self,
        sources: &[&dyn NamedTensors],
        backbone: Option<&backbone::BackboneSpec>,
    ) -> candle_core::Result<Box<dyn MergeTensors>> {
        let _ = backbone;
        let more = || candle_core::Error::Msg("it needs more than files of tensors".into());
        self.formula(sources.len()).ok_or_else(more)
    }

    /// Merges.
    ///
    /// # Errors
    /// Measuring or merging failed, or the person asked to stop.
    fn merge(&self, merging: &Merging<'_>) -> Result<Merged, StageError> {
        let formula = self.formula(merging.sources.len());
        let missing = || StageError::Failed("the method is no formula, and says not how it merges".into());
        merging.by_formula(&*formula.ok_or_else(missing)?, self.base().is_some())
    }
}

/// How many sources a merge needs, in words.
pub fn needs(takes: &RangeInclusive<usize>) -> String {
    let noun = |count: usize| if count == 1 { "source" } else { "sources" };
    match (*takes.start(), *takes.end()) {
        (least, usize::MAX) => format!("{least} {} or more", noun(least)),
        (least, most) if least == most => format!("exactly {least} {}", noun(least)),
        (least, most) => format!("{least} to {most} sources"),
    }
}

/// What is known of a merge before it runs.
pub struct KnownMerge<'a> {
    /// What is known of the stage: sources first, then the method's own inputs.
    pub known: &'a Known<'a>,
    /// The sources' stages, as written in the experiment file.
    pub names: &'a [String],
    /// The sources.
    pub sources: Vec<&'a ModelInfo>,
}

impl<'a> KnownMerge<'a> {
    /// The common start of this name, the first input behind the sources: a model like them.
    ///
    /// # Errors
    /// It is no such model.
    pub fn base(&self, name: &str) -> Result<&'a ModelInfo, Vec<String>> {
        let (base, source) = (self.known.model(self.sources.len())?, self.sources[0]);
        if base.backbone != source.backbone {
            return Err(vec![format!(
                "`base = \"{name}\"` has another backbone, {}, than the sources, {}; name the model that the sources \
                 were trained from",
                base.backbone, source.backbone
            )]);
        }
        if base.normalize != source.normalize {
            return Err(vec![format!(
                "`base = \"{name}\"` scales its input pixels otherwise (`normalize`) than the sources; name the model \
                 that the sources were trained from"
            )]);
        }
        Ok(base)
    }
}

/// A merge at work.
pub struct Merging<'a> {
    /// The stage's: sources first among its inputs, then the method's own.
    pub context: &'a Context<'a>,
    /// The sources.
    pub sources: Vec<&'a Checkpoint>,
    /// The sources' stages, as written in the experiment file.
    pub names: &'a [String],
    /// Whether batch norm's statistics will be re-estimated.
    pub reestimates: bool,
}

/// What a method makes of its sources.
pub struct Merged {
    /// The merged tensors; of a classifier only if there is a head.
    pub tensors: StateDict,
    /// The head that they have.
    pub head: Option<Head>,
    /// How each source was permuted before, if the method permutes.
    pub permutations: Vec<Permutations>,
}

impl<'a> Merging<'a> {
    /// The sources' tensors.
    pub fn state_dicts(&self) -> Vec<&'a StateDict> {
        self.sources.iter().map(|source| &source.tensors).collect()
    }

    /// What the method's own input at a position made.
    pub fn input(&self, i: usize) -> &'a Artifact {
        &self.context.inputs[self.sources.len() + i]
    }

    /// The merge's data set.
    pub fn dataset(&self) -> &'a Dataset {
        &self.context.datasets[0]
    }

    /// The images of a split of `n` that a method measures on, up to so many: drawn once, the same for all sources and
    /// merges.
    pub fn drawn(&self, n: usize, images: usize) -> Vec<usize> {
        let mut positions: Vec<usize> = (0..n).collect();
        positions.shuffle(&mut rng(0, Purpose::Measure, 0, 0));
        positions.truncate(images);
        positions
    }

    /// Merges name by name; with the head if all models share it. Heads that they do not share are not merged.
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

/// Reports shares that are not one for each source, or have no positive sum.
pub(crate) fn validate_shares(weights: Option<&[f64]>, sources: usize, problems: &mut Problems) {
    let Some(weights) = weights else { return };
    if weights.len() != sources {
        let message = format!("{} weights for {sources} sources; give one for each", weights.len());
        problems.add("weights", message, None);
    }
    let sum: f64 = weights.iter().sum();
    if sum <= 0.0 || !sum.is_finite() {
        problems.add("weights", format!("the weights must have a positive sum, not {sum}"), None);
    }
}

/// Classes of a model's head; 0 if it has none.
pub(crate) fn classes(info: &ModelInfo) -> usize {
    info.head.as_ref().map_or(0, |head| head.classes.len())
}
