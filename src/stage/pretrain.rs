//! `pretrain`: train a backbone from random initial values.

use serde::{Deserialize, Serialize};

use super::*;

/// A backbone, a data set and how to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainSpec {
    /// Architecture.
    pub backbone: BackboneSpec,
    /// Data set to learn.
    #[serde(skip_serializing)]
    pub dataset: String,
    /// How input pixels are scaled, in this model and all that follow from it.
    #[serde(default)]
    pub normalize: Normalize,
    /// The keys of `[train]`, written directly in the stage.
    #[serde(default)]
    pub train: TrainSpec,
}

impl Stage for PretrainSpec {
    fn revision(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<Input> {
        Vec::new()
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
