//! `finetune`: train on, from another stage's model; all of it, or the head alone (a linear probe).

use serde::{Deserialize, Serialize};

use super::*;

/// A model, a data set and how to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinetuneSpec {
    /// Stage whose model to start from.
    #[serde(skip_serializing)]
    pub from: String,
    /// Data set to learn.
    #[serde(skip_serializing)]
    pub dataset: String,
    /// What is trained.
    #[serde(default)]
    pub trainable: Trainable,
    /// Whether the model's classifier is kept.
    #[serde(default)]
    pub head: HeadInit,
    /// The keys of `[train]`, written directly in the stage.
    #[serde(default)]
    pub train: TrainSpec,
}

/// What a fine-tuning stage trains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trainable {
    /// Every parameter.
    #[default]
    All,
    /// The classifier; the backbone is frozen, its batch norm in evaluation mode (a linear probe).
    Head,
}

/// Where the classifier comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadInit {
    /// Keep it if it was made for this very data set, else draw a new one.
    #[default]
    Auto,
    /// Keep it; the classes must agree.
    Keep,
    /// Draw a new one.
    New,
}

impl Stage for FinetuneSpec {
    fn revision(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<Input> {
        vec![Input::new("from", &self.from)]
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
