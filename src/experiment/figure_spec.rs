//! A figure of learned merge weights, layer by layer: `[figure.<name>]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The value of `columns` that is not a sweep axis.
pub const STAGE: &str = "stage";

/// A figure of learned merge weights, layer by layer: `[figure.<name>]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FigureSpec {
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
}

fn seed() -> String {
    "seed".into()
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
