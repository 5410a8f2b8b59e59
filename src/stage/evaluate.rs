//! `evaluate`: predictions of several models on several data sets.

use serde::{Deserialize, Serialize};

use super::*;

/// Models, data sets and the split to report on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluateSpec {
    /// Row label → stage.
    #[serde(skip_serializing)]
    pub models: IndexMap<String, String>,
    /// Data sets; each model's head must be for its classes.
    #[serde(skip_serializing)]
    pub datasets: Vec<String>,
    /// Images to report on.
    #[serde(default)]
    pub split: SplitName,
}

impl Stage for EvaluateSpec {
    fn revision(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<Input> {
        let labelled = |(label, stage): (&String, &String)| Input {
            role: "model".into(),
            label: Some(label.clone()),
            stage: stage.clone(),
        };
        self.models.iter().map(labelled).collect()
    }

    fn datasets(&self) -> Vec<DataInput> {
        self.datasets.iter().map(|name| DataInput::new("dataset", name, &[self.split])).collect()
    }

    fn describe(&self, _known: &Known<'_>) -> Result<Description, Vec<String>> {
        unimplemented!()
    }

    fn run(&self, _context: &Context<'_>) -> Result<Artifact, StageError> {
        unimplemented!()
    }
}
