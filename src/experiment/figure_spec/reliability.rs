//! Reliability diagrams: `[figure.<name>.reliability]`.

use identity::Identity;
use kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FigureKind, Named, Shows, rows};

/// Accuracy in 15 bins of confidence, the images of all seeds together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReliabilitySpec {
    /// `evaluate` stages whose predictions are shown.
    pub from: Vec<String>,
    /// Rows of these stages to show, models or ensembles; all if empty.
    #[serde(default)]
    pub models: Vec<String>,
    /// Data sets to show; all if empty.
    #[serde(default)]
    pub datasets: Vec<String>,
}

impl Identity for ReliabilitySpec {}
impl Kind for ReliabilitySpec {}

impl FigureKind for ReliabilitySpec {
    fn from(&self) -> &[String] {
        &self.from
    }

    fn shows(&self) -> Shows {
        Shows::Predictions
    }

    fn names(&self) -> Vec<(String, Named, &str)> {
        rows(&self.models, &self.datasets)
    }
}
