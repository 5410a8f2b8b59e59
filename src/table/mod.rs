//! Result tables: tidy scores in, CSV and Markdown out.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// `[table.<name>]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// `evaluate` stages whose scores it shows.
    pub from: Vec<String>,
    /// What a row is: `model`, `dataset`, or a sweep axis.
    #[serde(default = "model")]
    pub rows: String,
    /// What a column is: any of `metric`, `dataset`, `model` and the sweep axes, outermost first.
    #[serde(default = "metric")]
    pub columns: Vec<String>,
    /// Scores to show.
    pub metrics: Vec<String>,
    /// The axis to take mean and standard deviation over.
    #[serde(default = "seed")]
    pub over: String,
}

fn model() -> String {
    "model".into()
}

fn metric() -> Vec<String> {
    vec!["metric".into()]
}

fn seed() -> String {
    "seed".into()
}

/// One row of `metrics.csv`: one score.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Experiment's name.
    pub experiment: String,
    /// `evaluate` stage's name as written.
    pub stage: String,
    /// Row label of the model.
    pub model: String,
    /// Data set's name as written.
    pub dataset: String,
    /// `train`, `val` or `test`.
    pub split: String,
    /// Value of the axis `seed`; empty if there is none.
    pub seed: String,
    /// Values of the other axes, one for each axis of the experiment; empty where it does not apply.
    pub axes: IndexMap<String, String>,
    /// Metric's name.
    pub metric: String,
    /// The score; `None` where it is not defined (AUROC with a class absent).
    pub value: Option<f64>,
    /// Number of images.
    pub n: usize,
}
