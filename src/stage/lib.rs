//! Stages: what a `[stage.<name>.<kind>]` section describes, and the science behind it.
//!
//! A stage gets its inputs loaded and returns one [`Artifact`]; it knows no store, plan or file of
//! the experiment. To add one: a file here with a spec that implements [`Stage`], a `mod` line and a line in
//! [`StageSpec`]. If its spec has a field `train`, it takes the keys of `[train]`.

pub mod ensemble;
pub mod evaluate;
pub mod finetune;
pub mod import;
pub mod learn_merge_weights;
mod learner;
pub mod merge;
pub mod pretrain;
mod repair;
#[cfg(test)]
mod work_tests;

use backbone::BackboneSpec;
use dataset::{Dataset, SplitName};
use identity::options::replaced;
use identity::{Fingerprint, Identity, Role, Spec};
use indexmap::IndexMap;
use kind::{Kind, NamedPath, Problems, kinds};
use model::work::{Network, TrainingWork};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use train::{Select, TrainSpec};

pub use model::{
    Artifact, Checkpoint, Context, Description, Evaluation, Head, Known, KnownDataset, MergeWeights,
    ModelInfo, Networks, Prediction, StageError, Work,
};

kinds! {
    /// A stage's section in the experiment file. The kind is the key.
    pub enum StageSpec: Stage {
        Import(import::ImportSpec),
        Pretrain(pretrain::PretrainSpec),
        Finetune(finetune::FinetuneSpec),
        LearnMergeWeights(learn_merge_weights::LearnMergeWeightsSpec),
        Merge(merge::MergeSpec),
        Evaluate(evaluate::EvaluateSpec),
    }
}

/// What every kind of stage can do.
pub trait Stage: Kind + Send + Sync {
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

    /// The stage at which the training of its model began, by fingerprint: a `pretrain`, or a merge of models that
    /// began apart. `own` is this stage's, `inputs` are the answers of its inputs. `None` if no one knows (an
    /// imported model) or it makes no model.
    fn began_at(&self, own: Fingerprint, inputs: &[Option<Fingerprint>]) -> Option<Fingerprint> {
        let _ = (own, inputs);
        None
    }

    /// What it will make, and everything that can be known to be wrong before it runs.
    ///
    /// # Errors
    /// Sentences for a person, each with what to do.
    fn describe(&self, known: &Known<'_>) -> Result<Description, Vec<String>>;

    /// What it will have to do. Asked only of a stage that was described; `networks` are those counted so far.
    fn work(&self, known: &Known<'_>, networks: &mut Networks) -> Work;

    /// Do the work.
    ///
    /// # Errors
    /// What went wrong, as a sentence for a person.
    fn run(&self, context: &Context<'_>) -> Result<Artifact, StageError>;
}

/// A stage's need of another stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// What it is used for. Inputs enter the fingerprint as (role, fingerprint) pairs, sorted.
    pub role: Role,
    /// A name for people where several inputs share a role (the row label of an evaluated model);
    /// not in the fingerprint.
    pub label: Option<String>,
    /// The stage's name as written in the experiment file.
    pub stage: String,
}

/// A stage's need of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataInput {
    /// What it is used for; [`Role::Dataset`] unless there are several.
    pub role: Role,
    /// The data set's name as written in the experiment file.
    pub dataset: String,
    /// The splits that are read. Each must have images, and `train` one of every class.
    pub splits: Vec<SplitName>,
}

impl Input {
    /// The only input of its role.
    pub fn new(role: Role, stage: &str) -> Self {
        Self { role, label: None, stage: stage.into() }
    }

    /// Its role, and its label if there is one: `model.<row label>`.
    pub fn title(&self) -> String {
        match &self.label {
            Some(label) => format!("{}.{label}", self.role),
            None => self.role.to_string(),
        }
    }

    /// Inputs whose order matters: `source.0`, `source.1`, …
    pub fn sources(stages: &[String]) -> Vec<Self> {
        let numbered = stages.iter().enumerate();
        numbered.map(|(i, stage)| Self::new(Role::Source(i), stage)).collect()
    }
}

impl DataInput {
    /// A data set and the splits that are read.
    pub fn new(role: Role, dataset: &str, splits: &[SplitName]) -> Self {
        Self { role, dataset: dataset.into(), splits: splits.to_vec() }
    }

    /// What training reads: the training images, and the validation images if an epoch is selected.
    pub fn training(dataset: &str, train: &TrainSpec) -> Self {
        match train.select {
            Select::None => Self::new(Role::Dataset, dataset, &[SplitName::Train]),
            _ => Self::new(Role::Dataset, dataset, &[SplitName::Train, SplitName::Val]),
        }
    }
}
