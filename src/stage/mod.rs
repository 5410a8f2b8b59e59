//! Stages: what a `[stage.<name>.<kind>]` section describes, and the science behind it.
//!
//! A stage gets its inputs loaded and returns one [`Artifact`]; it knows no store, plan or file of
//! the experiment. To add one: a file here with a spec that implements [`Stage`], a `mod` line, a
//! variant of [`StageSpec`] and its arms.

pub mod artifact;
pub mod evaluate;
pub mod finetune;
pub mod import;
pub mod learn_merge_weights;
pub mod merge;
pub mod model;
pub mod pretrain;

use std::sync::Arc;

use candle_core::Device;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::backbone::BackboneSpec;
use crate::dataset::{Dataset, SplitName, Summary};
use crate::train::epoch::Task;
use crate::train::{Select, TrainSpec};

pub use artifact::{Artifact, Checkpoint, Evaluation, MergeWeights, Prediction};

/// A stage's section in the experiment file. The kind is the key.
///
/// Serialising a spec gives what enters the fingerprint: references to other stages and data sets are
/// left out, since what they refer to enters by its own fingerprint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageSpec {
    /// A checkpoint made elsewhere.
    Import(import::ImportSpec),
    /// Train from random initial values.
    Pretrain(pretrain::PretrainSpec),
    /// Train on, from another stage's model.
    Finetune(finetune::FinetuneSpec),
    /// Learn one number per kernel and source.
    LearnMergeWeights(learn_merge_weights::LearnMergeWeightsSpec),
    /// Merge several models into one.
    Merge(merge::MergeSpec),
    /// Predict and score: several models on several data sets.
    Evaluate(evaluate::EvaluateSpec),
}

impl StageSpec {
    /// The kinds, as they are written in an experiment file.
    pub const KINDS: [&'static str; 6] =
        ["import", "pretrain", "finetune", "learn_merge_weights", "merge", "evaluate"];

    /// Whether stages of this kind take the keys of `[train]`.
    pub fn kind_trains(kind: &str) -> bool {
        matches!(kind, "pretrain" | "finetune" | "learn_merge_weights")
    }

    /// The kind's implementation.
    pub fn stage(&self) -> &dyn Stage {
        match self {
            Self::Import(spec) => spec,
            Self::Pretrain(spec) => spec,
            Self::Finetune(spec) => spec,
            Self::LearnMergeWeights(spec) => spec,
            Self::Merge(spec) => spec,
            Self::Evaluate(spec) => spec,
        }
    }

    /// The kind as it is written in an experiment file.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Import(_) => "import",
            Self::Pretrain(_) => "pretrain",
            Self::Finetune(_) => "finetune",
            Self::LearnMergeWeights(_) => "learn_merge_weights",
            Self::Merge(_) => "merge",
            Self::Evaluate(_) => "evaluate",
        }
    }
}

/// What every kind of stage can do.
pub trait Stage: Send + Sync {
    /// Raise when the same spec and inputs give other numbers.
    fn revision(&self) -> u32;

    /// The stages it takes from, in order.
    fn inputs(&self) -> Vec<Input>;

    /// The data sets it reads, in order.
    fn datasets(&self) -> Vec<DataInput>;

    /// Files outside the experiment whose content decides the result (an imported checkpoint).
    fn files(&self) -> Vec<std::path::PathBuf> {
        Vec::new()
    }

    /// How it trains, if it does.
    fn train(&self) -> Option<&TrainSpec> {
        None
    }

    /// What it will make, and everything that can be known to be wrong before it runs.
    ///
    /// # Errors
    /// Sentences for a person, each with what to do.
    fn describe(&self, known: &Known<'_>) -> Result<Description, Vec<String>>;

    /// Do the work.
    ///
    /// # Errors
    /// What went wrong, as a sentence for a person.
    fn run(&self, context: &Context<'_>) -> Result<Artifact, StageError>;
}

/// A stage's need of another stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// What it is used for: `from`, `source.0`, `anchor`, `model`, … Inputs enter the fingerprint as
    /// (role, fingerprint) pairs, sorted.
    pub role: String,
    /// A name for people where several inputs share a role (the row label of an evaluated model);
    /// not in the fingerprint.
    pub label: Option<String>,
    /// The stage's name as written in the experiment file.
    pub stage: String,
}

/// A stage's need of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataInput {
    /// What it is used for; `dataset` unless there are several.
    pub role: String,
    /// The data set's name as written in the experiment file.
    pub dataset: String,
    /// The splits that are read. Each must have images, and `train` one of every class.
    pub splits: Vec<SplitName>,
}

impl Input {
    /// The only input of its role.
    pub fn new(role: &str, stage: &str) -> Self {
        Self { role: role.into(), label: None, stage: stage.into() }
    }

    /// Inputs whose order matters: `source.0`, `source.1`, …
    pub fn sources(stages: &[String]) -> Vec<Self> {
        let numbered = stages.iter().enumerate();
        numbered.map(|(i, stage)| Self::new(&format!("source.{i}"), stage)).collect()
    }
}

impl DataInput {
    /// A data set and the splits that are read.
    pub fn new(role: &str, dataset: &str, splits: &[SplitName]) -> Self {
        Self { role: role.into(), dataset: dataset.into(), splits: splits.to_vec() }
    }

    /// What training reads: the training images, and the validation images if an epoch is selected.
    pub fn training(dataset: &str, train: &TrainSpec) -> Self {
        match train.select {
            Select::None => Self::new("dataset", dataset, &[SplitName::Train]),
            _ => Self::new("dataset", dataset, &[SplitName::Train, SplitName::Val]),
        }
    }
}

/// What is known of a stage's inputs before anything runs.
pub struct Known<'a> {
    /// What each input makes, in the order of [`Stage::inputs`].
    pub inputs: Vec<&'a Description>,
    /// Fingerprint of each input, in the same order.
    pub input_fingerprints: Vec<&'a str>,
    /// Name, fingerprint, image size and summary of each data set, in the order of [`Stage::datasets`].
    pub datasets: Vec<KnownDataset<'a>>,
}

impl Known<'_> {
    /// The model that input `i` makes.
    ///
    /// # Errors
    /// It makes something else.
    pub fn model(&self, i: usize) -> Result<&ModelInfo, Vec<String>> {
        match self.inputs[i] {
            Description::Model(info) => Ok(info),
            Description::MergeWeights { .. } => Err(vec![
                "expected a stage that makes a model, got merge weights; name a `merge` stage".into(),
            ]),
            Description::Scores => Err(vec![
                "expected a stage that makes a model, got an `evaluate` stage, which makes scores".into(),
            ]),
        }
    }

    /// The models that the first `n` inputs make, which must agree in all but their heads.
    ///
    /// # Errors
    /// An input makes something else, or the models cannot be merged.
    pub fn sources(&self, n: usize) -> Result<Vec<&ModelInfo>, Vec<String>> {
        let sources = (0..n).map(|i| self.model(i)).collect::<Result<Vec<_>, _>>()?;
        for (i, source) in sources.iter().enumerate().skip(1) {
            if source.backbone != sources[0].backbone {
                return Err(vec![format!(
                    "sources have different backbones, {} and {} (the first and number {}); merge models of one \
                     backbone, with the same options",
                    sources[0].backbone,
                    source.backbone,
                    i + 1
                )]);
            }
            if source.normalize != sources[0].normalize {
                return Err(vec![format!(
                    "sources scale their input pixels differently (`normalize` of the first and of number {}); \
                     merge models that agree",
                    i + 1
                )]);
            }
        }
        Ok(sources)
    }
}

/// What is known of a data set before anything runs.
#[derive(Clone, Copy)]
pub struct KnownDataset<'a> {
    /// As written in the experiment file; for messages only.
    pub name: &'a str,
    /// Of its options and content.
    pub fingerprint: &'a str,
    /// Side of its images in pixels.
    pub size: usize,
    /// Classes and counts.
    pub summary: &'a Summary,
}

/// What a stage makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Description {
    /// A model.
    Model(ModelInfo),
    /// Numbers to merge models with.
    MergeWeights {
        /// The merged model.
        info: ModelInfo,
        /// Fingerprints of the models that the numbers are for, in their order.
        sources: Vec<String>,
    },
    /// Predictions and scores.
    Scores,
}

/// What identifies a model apart from its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Architecture.
    pub backbone: BackboneSpec,
    /// How its input pixels are scaled.
    pub normalize: Normalize,
    /// The classifier, unless there is none (yet).
    pub head: Option<Head>,
}

/// What a classifier was made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Fingerprint of the data set that it was trained on; empty for an imported one.
    pub dataset: String,
    /// Class names, one for each logit.
    pub classes: Vec<String>,
}

/// Input pixels p in 0..=255 become (p / 255 − mean) / std, per channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    /// Red, green, blue, on the scale 0..1.
    pub mean: [f32; 3],
    /// Red, green, blue, on the scale 0..1.
    pub std: [f32; 3],
}

impl KnownDataset<'_> {
    /// The classifier of a model that is trained on this data set.
    pub fn head(&self) -> Head {
        Head { dataset: self.fingerprint.to_string(), classes: self.summary.classes.clone() }
    }
}

impl Default for Normalize {
    /// 0.5 everywhere: pixels land in −1..1, as MedMNIST's own recipe has it.
    fn default() -> Self {
        Self { mean: [0.5; 3], std: [0.5; 3] }
    }
}

/// What a running stage may use.
pub struct Context<'a> {
    /// The artifact of each input, in the order of [`Stage::inputs`].
    pub inputs: Vec<Arc<Artifact>>,
    /// Each data set, in the order of [`Stage::datasets`].
    pub datasets: Vec<Arc<Dataset>>,
    /// Fingerprint of each data set, in the same order.
    pub dataset_fingerprints: Vec<String>,
    /// Fingerprint of each input, in the order of [`Stage::inputs`].
    pub input_fingerprints: Vec<String>,
    /// Where tensors live.
    pub device: Device,
    /// Called often with how far the stage is; an error from it stops the stage (Ctrl-C).
    pub report: &'a (dyn Fn(Progress) -> Result<(), Interrupted> + Sync),
}

impl Context<'_> {
    /// The model that input `i` made.
    ///
    /// # Errors
    /// It made something else.
    pub fn model(&self, i: usize) -> Result<&Checkpoint, StageError> {
        match &*self.inputs[i] {
            Artifact::Model(checkpoint) => Ok(checkpoint),
            _ => Err(StageError::Failed(format!("input {i} is not a model"))),
        }
    }

    /// What training on data set 0 needs.
    pub fn task<'a>(&'a self, spec: &'a TrainSpec) -> Task<'a> {
        Task { dataset: &self.datasets[0], spec, device: &self.device, report: self.report }
    }

    /// The classifier of a model that is trained on data set 0.
    pub fn head(&self) -> Head {
        Head { dataset: self.dataset_fingerprints[0].clone(), classes: self.datasets[0].classes.clone() }
    }
}

/// How far a stage is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "progress")]
pub enum Progress {
    /// Within an epoch.
    Step {
        /// From 0.
        epoch: usize,
        /// Planned epochs.
        epochs: usize,
        /// Images seen in this epoch.
        images: usize,
        /// Images in an epoch.
        of: usize,
        /// Mean loss of the epoch so far.
        loss: f64,
        /// Training throughput so far.
        images_per_second: f64,
    },
    /// An epoch is over.
    Epoch(EpochRecord),
    /// Anything else that takes a while: done, total, of what.
    Count {
        /// Units done.
        done: usize,
        /// Units in all.
        of: usize,
        /// Name of a unit, in the plural.
        what: String,
    },
}

/// One row of `history.csv`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 0.
    pub epoch: usize,
    /// Learning rate of the epoch.
    pub lr: f64,
    /// Mean training loss over the images.
    pub train_loss: f64,
    /// Validation scores by name; empty without validation.
    pub val: IndexMap<String, f64>,
    /// Whether this is the best epoch so far.
    pub best: bool,
}

/// The person asked to stop.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Why a stage did not finish.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A sentence for a person: what, where and what to do.
    #[error("{0}")]
    Failed(String),
    /// An operation on tensors failed.
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A data set could not be read.
    #[error(transparent)]
    Data(#[from] crate::dataset::DataError),
    /// An optimiser could not step, or take up its state.
    #[error(transparent)]
    Optimizer(#[from] crate::train::OptimizerError),
    /// The person asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}
