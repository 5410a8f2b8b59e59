//! Learned merge weights, layer by layer: `[figure.<name>.layers]`.

use identity::Identity;
use kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FigureKind, Named, Shows, seed};

/// Learned merge weights, layer by layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LayersSpec {
    /// `learn_merge_weights` stages whose merge weights are shown.
    pub from: Vec<String>,
    /// Field whose values are the columns of panels: `stage`, or a sweep axis. All other combinations are rows.
    #[serde(default)]
    pub columns: Option<String>,
    /// Sweep axis whose values are pooled in each panel.
    #[serde(default = "seed")]
    pub over: String,
    /// Whether to also write every merge weight, to `<figure>.kernels.csv`.
    #[serde(default)]
    pub kernels: bool,
    /// Whether to also write the figure as PDF, to `<figure>.pdf`. Needs a sans-serif font on this machine.
    #[serde(default)]
    pub pdf: bool,
}

impl Identity for LayersSpec {}
impl Kind for LayersSpec {}

impl FigureKind for LayersSpec {
    fn from(&self) -> &[String] {
        &self.from
    }

    fn pdf(&self) -> bool {
        self.pdf
    }

    fn shows(&self) -> Shows {
        Shows::MergeWeights
    }

    fn names(&self) -> Vec<(String, Named, &str)> {
        let columns = self.columns.as_deref().map(|columns| ("columns".to_owned(), Named::Field, columns));
        // The default of `over` is `seed`, whether or not there is such an axis.
        let over = (self.over != seed()).then(|| ("over".to_owned(), Named::Axis, self.over.as_str()));
        columns.into_iter().chain(over).collect()
    }

    fn conflict(&self) -> Option<(&'static str, String, String)> {
        let columns = self.columns.as_ref().filter(|columns| **columns == self.over)?;
        let help = "an axis cannot be both pooled and shown as columns; use another axis in one of them";
        Some(("columns", format!("`columns` and `over` both name `{columns}`"), help.to_owned()))
    }
}

/// Columns of the figure's CSV files, in addition to the sweep axes. An axis with one of these names has the column
/// `axis.<name>`.
pub const COLUMNS: [&str; 14] = [
    "stage",
    "layer",
    "depth",
    "source",
    "source_stage",
    "kernels",
    "mean",
    "std",
    "min",
    "max",
    "share",
    "fraction",
    "kernel",
    "weight",
];
