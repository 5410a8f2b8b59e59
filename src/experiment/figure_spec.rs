//! `[figure.<name>]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `columns` may name beside a sweep axis.
pub const STAGE: &str = "stage";

/// `[figure.<name>]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FigureSpec {
    /// `learn_merge_weights` stages whose numbers it shows.
    pub from: Vec<String>,
    /// What stands side by side: `stage`, or a sweep axis. Panels of anything else stand one below the other.
    #[serde(default)]
    pub columns: Option<String>,
    /// The axis whose values are put together in a panel.
    #[serde(default = "seed")]
    pub over: String,
    /// Whether every number is written, too, to `<figure>.kernels.csv`.
    #[serde(default)]
    pub kernels: bool,
}

fn seed() -> String {
    "seed".into()
}

/// Columns of the figure's files, beside which stand the sweep axes.
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
