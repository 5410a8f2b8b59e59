//! `learn_merge_weights`: learn one merge weight per kernel and source on the target's training images, with their
//! labels or without.

mod checks;
mod layer_weights;
mod learner;

use std::collections::BTreeSet;

pub use self::layer_weights::LayerWeights;
use self::learner::MergeLearner;
use super::learner::check_decay;
use super::merge::validate_sources;
use super::*;
use backbone::{Backbone, KernelGroup};
use merge_method::learned::left;
use nn::init::Parameter;
use train::epoch::fit;

/// Learns one merge weight per kernel and source on a target data set (MedMerge, arXiv 2403.11646); without labels by
/// `loss = "entropy"`, of task vectors by `base` (AdaMerging, arXiv 2310.02575).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LearnMergeWeightsSpec {
    /// Stages of the models to merge; two or more with the same backbone.
    pub sources: Vec<String>,
    /// Stage of the model from which all sources were trained: merge weights then multiply differences from it, B + Σ w
    /// (S − B).
    #[serde(default)]
    pub base: Option<String>,
    /// Source to start from, with its head: its merge weights start at 1, the others at 0. If absent, all sources start
    /// with equal merge weights and a new head. `start` and `head` override this.
    #[serde(default)]
    pub anchor: Option<String>,
    /// Initial merge weight of all learned sources; if absent, 1 and 0 with an `anchor`, otherwise 0.3 with a `base`,
    /// otherwise 1 / sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<f64>,
    /// Whether the anchor's merge weights are learned.
    #[serde(default)]
    pub anchor_weight: AnchorWeight,
    /// Allowed values of merge weights.
    #[serde(default)]
    pub constraint: Constraint,
    /// Granularity of merge weights: one per source and slice of a kernel, kernel, layer or model.
    #[serde(default)]
    pub granularity: Granularity,
    /// Decay of merge weights to their start, from 0 to below 1 / lr: each step also subtracts
    /// lr · decay_to_start · (w − start), as AdamW's weight decay does to 0 (L2-SP, Li et al. 2018, arXiv 1802.01483).
    #[serde(default, skip_serializing_if = "is_default")]
    pub decay_to_start: f64,
    /// Scales and shifts of batch and layer norms.
    #[serde(default, skip_serializing_if = "is_default")]
    pub norms: Norms,
    /// Initial head. It is trained, unless the loss uses no labels.
    #[serde(default, skip_serializing_if = "is_default")]
    pub head: StartingHead,
    /// Target data set to train on.
    pub dataset: String,
    /// Training options: the keys of `[train]`, written directly in the stage.
    #[serde(default)]
    pub train: TrainSpec,
}

/// Whether the anchor's merge weights are learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnchorWeight {
    /// Learned, like those of the other sources.
    #[default]
    Learned,
    /// Fixed at 1.
    Fixed,
}

/// Allowed values of merge weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// Any real number.
    #[default]
    None,
    /// Non-negative, with sum 1 over the sources. Enforced by projection after each step, so that the anchor can start
    /// at exactly 1 (a softmax could not).
    Convex,
    /// Each in [0, 1].
    Box,
}

/// Granularity of merge weights: one per source and slice of a kernel, kernel, layer or model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// One merge weight per slice of a convolution kernel, the part for one input channel; one per kernel elsewhere.
    Slice,
    /// One merge weight per kernel.
    #[default]
    Kernel,
    /// One merge weight for all kernels of a layer.
    Layer,
    /// One merge weight for all kernels of the model.
    Model,
}

/// Scales and shifts of batch and layer norms in the merged model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Norms {
    /// Merged with the merge weights of the kernels that they follow.
    #[default]
    Merged,
    /// Kept from the anchor.
    Anchor,
    /// Trained like the head, from the anchor's on.
    Trained,
}

/// The initial head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartingHead {
    /// The anchor's; a new one without an anchor.
    #[default]
    Anchor,
    /// A new head with random weights.
    New,
    /// The mean of the heads of all sources.
    Mean,
}

impl Identity for LearnMergeWeightsSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["sources", "base", "anchor", "dataset"]
    }

    fn options(&self) -> serde_json::Value {
        let options = identity::options::without(self.to_json(), self.left_out());
        replaced(options, "train", self.train.options())
    }
}

impl Kind for LearnMergeWeightsSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.under("train", |problems| self.train.validate(problems));
        validate_sources("a merge", &self.sources, &(2..=usize::MAX), problems);
        if let Some(anchor) = self.anchor.as_ref().filter(|anchor| !self.sources.contains(anchor)) {
            let names: Vec<&str> = self.sources.iter().map(String::as_str).collect();
            let message = format!("the anchor `{anchor}` is not among the sources");
            problems.add("anchor", message, kind::suggest::help(anchor, &names));
        }
        problems.not_negative("decay_to_start", self.decay_to_start);
        self.validate_start(problems);
    }

    fn validate_together(&self, problems: &mut Problems) {
        problems.under("train", |problems| self.train.validate_together(problems));
        self.validate_base(problems);
        self.validate_head(problems);
        check_decay(self.decay_to_start, &self.train, problems);
    }
}

impl Stage for LearnMergeWeightsSpec {
    fn revision(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<Input> {
        let mut inputs = Input::sources(&self.sources);
        inputs.extend(self.base.iter().map(|base| Input::new(Role::Base, base)));
        inputs.extend(self.anchor.iter().map(|anchor| Input::new(Role::Anchor, anchor)));
        inputs
    }

    fn datasets(&self) -> Vec<DataInput> {
        vec![DataInput::training(&self.dataset, &self.train)]
    }

    fn train(&self) -> Option<&TrainSpec> {
        Some(&self.train)
    }

    fn describe(&self, known: &Known<'_>) -> Result<Description, Vec<String>> {
        let sources = known.sources(self.sources.len())?;
        known.datasets[0].suits(&sources[0].backbone)?;
        for source in &sources {
            known.datasets[0].reads_as(source)?;
        }
        known.datasets[0].trains(&self.train)?;
        let head = known.datasets[0].head();
        self.check_anchor()?;
        self.check_heads(&sources, &head)?;
        self.check_base(known, &sources)?;
        let n = self.sources.len();
        Ok(Description::MergeWeights {
            info: learned(&sources, head, known.datasets[0].preprocessing()),
            sources: known.input_fingerprints[..n].to_vec(),
            base: self.base.as_ref().map(|_| known.input_fingerprints[n]),
        })
    }

    fn work(&self, known: &Known<'_>, networks: &mut Networks) -> Work {
        let backbone = &known.described_model(0).backbone;
        let per_source = self.layers(backbone).iter().flat_map(LayerWeights::numbers).sum::<usize>();
        let training = TrainingWork::new(backbone, known, &self.train, networks);
        training.merge_weights(self.sources.len(), self.base.is_some(), per_source as u64)
    }

    fn run(&self, context: &Context<'_>) -> Result<Artifact, StageError> {
        let n = self.sources.len();
        let sources = (0..n).map(|i| context.model(i)).collect::<Result<Vec<_>, _>>()?;
        let task = context.task(&self.train);
        let infos: Vec<&ModelInfo> = sources.iter().map(|source| &source.info).collect();
        let base = self.base.as_ref().map(|_| context.model(n)).transpose()?;
        let mut learner = MergeLearner::new(self, &sources, base, &task)?;
        let history = fit(&mut learner, &task)?;
        Ok(Artifact::MergeWeights(MergeWeights {
            info: learned(&infos, context.head(), context.preprocessing()),
            tensors: learner.learned()?,
            history,
        }))
    }
}

/// The merged model, with the head of the data set on which merge weights are learned.
fn learned(sources: &[&ModelInfo], head: Head, next: Preprocessing) -> ModelInfo {
    let preprocessing = Preprocessing::shared(sources.iter().copied()).then(next);
    ModelInfo { head: Some(head), preprocessing, ..sources[0].clone() }
}

impl LearnMergeWeightsSpec {
    fn anchor_index(&self) -> Option<usize> {
        let anchor = self.anchor.as_ref()?;
        self.sources.iter().position(|source| source == anchor)
    }

    /// The merged layers of a backbone.
    pub fn layers(&self, backbone: &BackboneSpec) -> Vec<LayerWeights> {
        let backbone = backbone.build();
        let parameters = backbone.parameters();
        let groups = self.groups(&*backbone, &parameters);
        groups.into_iter().map(|group| LayerWeights::new(self.granularity, group, &parameters)).collect()
    }

    /// The kernel groups to merge.
    fn groups(&self, backbone: &dyn Backbone, parameters: &[Parameter]) -> Vec<KernelGroup> {
        let groups = backbone.kernel_groups();
        match self.norms {
            Norms::Merged => groups,
            Norms::Anchor | Norms::Trained => {
                let norms = norms(parameters);
                left(&groups, |name| !norms.contains(name))
            }
        }
    }

    /// Indices of the sources with learned merge weights.
    fn learned_sources(&self) -> Vec<usize> {
        let fixed = self.anchor_index().filter(|_| self.anchor_weight == AnchorWeight::Fixed);
        (0..self.sources.len()).filter(|source| Some(*source) != fixed).collect()
    }
}

/// Names of the norms' scales and shifts: parameters of layers with a one-dimensional weight.
fn norms(parameters: &[Parameter]) -> BTreeSet<String> {
    let layer = |parameter: &Parameter| parameter.name.rsplit_once('.').map(|(layer, _)| layer.to_owned());
    let is_scale = |parameter: &&Parameter| parameter.name.ends_with(".weight") && parameter.shape.len() == 1;
    let layers: BTreeSet<_> = parameters.iter().filter(is_scale).filter_map(layer).collect();
    let of_norm = |parameter: &&Parameter| {
        parameter.is_trainable() && layer(parameter).is_some_and(|layer| layers.contains(&layer))
    };
    parameters.iter().filter(of_norm).map(|parameter| parameter.name.clone()).collect()
}

#[cfg(test)]
mod tests;
