//! ROC curves: `[figure.<name>.roc]`.

use identity::Identity;
use kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FigureKind, Named, Shows, rows};

/// ROC curves of each class against the rest, one line per seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RocSpec {
    /// `evaluate` stages whose predictions are shown.
    pub from: Vec<String>,
    /// Rows of these stages to show, models or ensembles; all if empty.
    #[serde(default)]
    pub models: Vec<String>,
    /// Data sets to show; all if empty.
    #[serde(default)]
    pub datasets: Vec<String>,
}

impl Identity for RocSpec {}
impl Kind for RocSpec {}

impl FigureKind for RocSpec {
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
