//! Confusion matrices: `[figure.<name>.confusion]`.

use identity::Identity;
use kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FigureKind, Named, Shows, rows};

/// Confusion matrices: counts, summed over seeds, and shares of each true class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfusionSpec {
    /// `evaluate` stages whose predictions are shown.
    pub from: Vec<String>,
    /// Rows of these stages to show, models or ensembles; all if empty.
    #[serde(default)]
    pub models: Vec<String>,
    /// Data sets to show; all if empty.
    #[serde(default)]
    pub datasets: Vec<String>,
}

impl Identity for ConfusionSpec {}
impl Kind for ConfusionSpec {}

impl FigureKind for ConfusionSpec {
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
