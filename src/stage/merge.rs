//! `merge`: several models into one plain checkpoint.

use serde::{Deserialize, Serialize};

use super::*;
use crate::merge_method::MergeMethodSpec;

/// Sources and how to merge them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergeSpec {
    /// Stages whose models to merge: two or more of one backbone.
    #[serde(skip_serializing)]
    pub sources: Vec<String>,
    /// How.
    pub method: MergeMethodSpec,
    /// What becomes of batch norm's running statistics.
    #[serde(default)]
    pub batch_norm: BatchNormStatistics,
    /// Data set whose training images the statistics are re-estimated on.
    #[serde(default, skip_serializing)]
    pub dataset: Option<String>,
}

/// What becomes of batch norm's running statistics in a merge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchNormStatistics {
    /// Measured anew on the data set's training images (no labels needed).
    #[default]
    Reestimate,
    /// As the method merged them.
    Merged,
}

impl Stage for MergeSpec {
    fn revision(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<Input> {
        let mut inputs = Input::sources(&self.sources);
        if let MergeMethodSpec::Learned(learned) = &self.method {
            inputs.push(Input::new("weights", &learned.weights));
        }
        inputs
    }

    fn datasets(&self) -> Vec<DataInput> {
        let dataset = self.dataset.iter().filter(|_| self.batch_norm == BatchNormStatistics::Reestimate);
        dataset.map(|name| DataInput::new("dataset", name, &[SplitName::Train])).collect()
    }

    fn describe(&self, _known: &Known<'_>) -> Result<Description, Vec<String>> {
        unimplemented!()
    }

    fn run(&self, _context: &Context<'_>) -> Result<Artifact, StageError> {
        unimplemented!()
    }
}
