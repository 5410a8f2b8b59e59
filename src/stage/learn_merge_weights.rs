//! `learn_merge_weights`: one number per kernel and source, learnt on the target's training images.

use serde::{Deserialize, Serialize};

use super::*;

/// Sources, a data set and how to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnMergeWeightsSpec {
    /// Stages whose models to merge: two or more of one backbone.
    #[serde(skip_serializing)]
    pub sources: Vec<String>,
    /// The source to start at, with its head; equal shares and a new head if absent.
    #[serde(default, skip_serializing)]
    pub anchor: Option<String>,
    /// Whether the anchor's own numbers are learnt too.
    #[serde(default)]
    pub anchor_weight: AnchorWeight,
    /// What values the numbers may take.
    #[serde(default)]
    pub constraint: Constraint,
    /// What shares a number.
    #[serde(default)]
    pub granularity: Granularity,
    /// Target data set.
    #[serde(skip_serializing)]
    pub dataset: String,
    /// The keys of `[train]`, written directly in the stage.
    #[serde(default)]
    pub train: TrainSpec,
}

/// Whether the anchor's own numbers are learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnchorWeight {
    /// All numbers are learnt.
    #[default]
    Learned,
    /// The anchor's stay at 1.
    Fixed,
}

/// What values merge weights may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// Any real number.
    #[default]
    None,
    /// A softmax over the sources: positive, with sum 1.
    Convex,
    /// Each in 0..=1.
    Box,
}

/// What shares a merge weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// Each kernel has its own.
    #[default]
    Kernel,
    /// The kernels of a layer share one.
    Layer,
    /// All kernels share one.
    Model,
}

impl Stage for LearnMergeWeightsSpec {
    fn revision(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<Input> {
        let mut inputs = Input::sources(&self.sources);
        inputs.extend(self.anchor.iter().map(|anchor| Input::new("anchor", anchor)));
        inputs
    }

    fn datasets(&self) -> Vec<DataInput> {
        vec![DataInput::training(&self.dataset, &self.train)]
    }

    fn train(&self) -> Option<&TrainSpec> {
        Some(&self.train)
    }

    fn describe(&self, _known: &Known<'_>) -> Result<Description, Vec<String>> {
        unimplemented!()
    }

    fn run(&self, _context: &Context<'_>) -> Result<Artifact, StageError> {
        unimplemented!()
    }
}
