//! What the figures of predictions have in common: `[figure.<name>.confusion]`, `roc`, `precision_recall` and
//! `reliability`.

use identity::Identity;
use kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FigureKind, Named, Shows, rows};

/// The keys of a figure of predictions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PredictionsSpec {
    /// `evaluate` stages whose predictions are shown.
    pub from: Vec<String>,
    /// Rows of these stages to show, models or ensembles; all if empty.
    #[serde(default)]
    pub models: Vec<String>,
    /// Data sets to show; all if empty.
    #[serde(default)]
    pub datasets: Vec<String>,
    /// Whether to also write the figure as PDF, to `<figure>.pdf`. Needs a sans-serif font on this machine.
    #[serde(default)]
    pub pdf: bool,
}

impl Identity for PredictionsSpec {}
impl Kind for PredictionsSpec {}

impl FigureKind for PredictionsSpec {
    fn from(&self) -> &[String] {
        &self.from
    }

    fn pdf(&self) -> bool {
        self.pdf
    }

    fn shows(&self) -> Shows {
        Shows::Predictions
    }

    fn names(&self) -> Vec<(String, Named, &str)> {
        rows(&self.models, &self.datasets)
    }
}
