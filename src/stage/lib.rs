//! Stages: the kinds of `[stage.<name>.<kind>]` sections and their work.
//!
//! A stage receives loaded inputs and returns one [`Artifact`]; it is independent of the store, the plan and the
//! experiment's files. To add one: a file here with a spec that implements [`Stage`], a `mod` line and a line in
//! [`StageSpec`]. A spec with a field `train` takes the keys of `[train]`.

mod common_start;
pub mod distill;
pub mod ensemble;
pub mod evaluate;
pub mod finetune;
#[cfg(test)]
mod graph_tests;
pub mod import;
pub mod learn_merge_weights;
mod learner;
pub mod merge;
pub mod pretrain;
mod repair;
pub mod select;
#[cfg(test)]
mod work_tests;

use std::path::{Path, PathBuf};

use backbone::BackboneSpec;
use dataset::{DataError, Dataset, SplitName};
use identity::options::replaced;
use identity::{Fingerprint, Identity, Role, Spec};
use indexmap::IndexMap;
use kind::{Kind, NamedPath, Problems, kinds};
use model::work::{Network, TrainingWork};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use train::TrainSpec;

pub use model::{
    Artifact, Checkpoint, Context, Description, Evaluation, Head, Known, KnownDataset, MergeWeights,
    ModelInfo, Networks, Prediction, Preprocessing, StageError, Work,
};

kinds! {
    /// A stage's section in the experiment file, `[stage.<name>.<kind>]`.
    pub enum StageSpec: Stage {
        Import(import::ImportSpec),
        Pretrain(pretrain::PretrainSpec),
        Finetune(finetune::FinetuneSpec),
        LearnMergeWeights(learn_merge_weights::LearnMergeWeightsSpec),
        Distill(distill::DistillSpec),
        Merge(merge::MergeSpec),
        Select(select::SelectSpec),
        Evaluate(evaluate::EvaluateSpec),
    }
}

/// For keys that came later: at their default they are not in the fingerprint.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A kind of stage.
pub trait Stage: Kind + Send + Sync {
    /// Revision of the implementation. Raise it when the same spec and inputs give different results.
    fn revision(&self) -> u32;

    /// The input stages, in order.
    fn inputs(&self) -> Vec<Input>;

    /// The data sets, in order.
    fn datasets(&self) -> Vec<DataInput>;

    /// Files outside the experiment that affect the result (an imported checkpoint).
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Check the headers of [`Self::files`], without reading tensors.
    ///
    /// # Errors
    /// A file cannot be used.
    fn examine_files(&self) -> Result<(), DataError> {
        Ok(())
    }

    /// A file outside the experiment, and the SHA-256 that it must have, in hexadecimal, complete or its first digits.
    fn expected_sha256(&self) -> Option<(&Path, &str)> {
        None
    }

    /// The training options, if it trains.
    fn train(&self) -> Option<&TrainSpec> {
        None
    }

    /// The sweep axis along which it takes every result of its only input, so that the axis does not multiply it.
    fn gathers(&self) -> Option<&str> {
        None
    }

    /// Take the values of the axis that it [gathers](Self::gathers), in ascending order. From then on it has one input
    /// for each.
    fn gather(&mut self, values: Vec<String>) {
        let _ = values;
    }

    /// Fingerprint of the stage where its model's training started: a `pretrain` stage, or a merge of models with
    /// different starts. `own` is this stage's fingerprint, `inputs` the starts of its inputs. `None` if it is unknown
    /// (an imported model) or the stage makes no model.
    fn began_at(&self, own: Fingerprint, inputs: &[Option<Fingerprint>]) -> Option<Fingerprint> {
        let _ = (own, inputs);
        None
    }

    /// Describe the result, and check everything that can be checked before the stage runs.
    ///
    /// # Errors
    /// Messages for the user, each with what to do.
    fn describe(&self, known: &Known<'_>) -> Result<Description, Vec<String>>;

    /// The work to do. Called only after `describe` succeeded; `networks` caches costs.
    fn work(&self, known: &Known<'_>, networks: &mut Networks) -> Work;

    /// Run the stage.
    ///
    /// # Errors
    /// A message for the user.
    fn run(&self, context: &Context<'_>) -> Result<Artifact, StageError>;
}

/// A dependency on another stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Purpose of the input. Inputs enter the fingerprint as (role, fingerprint) pairs, sorted.
    pub role: Role,
    /// A label for messages where several inputs share a role (the row label of an evaluated model); not part of the
    /// fingerprint.
    pub label: Option<String>,
    /// Name of the stage in the experiment file.
    pub stage: String,
}

/// A dependency on a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataInput {
    /// Purpose of the data set; [`Role::Dataset`] unless there are several.
    pub role: Role,
    /// Name of the data set in the experiment file.
    pub dataset: String,
    /// The splits to read. Each must have images, and `train` at least one of every class.
    pub splits: Vec<SplitName>,
}

impl Input {
    /// An input that is the only one with its role.
    pub fn new(role: Role, stage: &str) -> Self {
        Self { role, label: None, stage: stage.into() }
    }

    /// The role, followed by the label if there is one: `model.<row label>`.
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
    /// A data set and the splits to read.
    pub fn new(role: Role, dataset: &str, splits: &[SplitName]) -> Self {
        Self { role, dataset: dataset.into(), splits: splits.to_vec() }
    }

    /// The data of training: the training split, and the validation split if an epoch is selected.
    pub fn training(dataset: &str, train: &TrainSpec) -> Self {
        match train.select.metric() {
            None => Self::new(Role::Dataset, dataset, &[SplitName::Train]),
            Some(_) => Self::new(Role::Dataset, dataset, &[SplitName::Train, SplitName::Val]),
        }
    }
}
