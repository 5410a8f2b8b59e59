//! Result tables: tidy scores in, CSV and Markdown out.
//!
//! | file | what |
//! |---|---|
//! | [`metrics_csv`] | `metrics.csv`: every score in a row of its own, written and read |
//! | [`pivot`] | rows × columns of mean and standard deviation |
//! | `table_csv`, `markdown`, `terminal` | the three ways in which a pivot is shown |
//! | `text` | what the Markdown and the terminal rendering share |
//! | `write` | the files under `results/<experiment>/` |

mod error;
mod markdown;
pub mod metrics_csv;
pub mod pivot;
mod table_csv;
mod terminal;
mod text;
mod write;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub use error::TableError;
pub use pivot::Pivot;
pub(crate) use write::write_file;
pub use write::{Rendered, write_results};

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

impl Score {
    /// What a table can be laid out by, beside the sweep axes.
    const FIELDS: [&'static str; 6] = ["model", "dataset", "metric", "stage", "split", "seed"];

    /// The value of one of [`Score::FIELDS`] or of an axis; empty where an axis does not apply.
    fn field(&self, name: &str) -> &str {
        match name {
            "model" => &self.model,
            "dataset" => &self.dataset,
            "metric" => &self.metric,
            "stage" => &self.stage,
            "split" => &self.split,
            "seed" => &self.seed,
            axis => self.axes.get(axis).map_or("", String::as_str),
        }
    }

    /// The value, if it is defined and a number.
    fn defined(&self) -> Option<f64> {
        self.value.filter(|value| value.is_finite())
    }
}

/// CSV text of records that are all of the same length.
pub(crate) fn csv_text(records: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for record in records {
        writer.write_record(&record).expect("records of one length, written to memory");
    }
    let bytes = writer.into_inner().expect("writing to memory cannot fail");
    String::from_utf8(bytes).expect("made of strings")
}

/// Shortest text that reads back as the same number; empty where there is none.
pub(crate) fn number_text(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:?}"))
}

/// Scores for the tests of this folder.
#[cfg(test)]
mod example {
    use super::*;

    /// A macro F1 of a model on a target with a seed.
    pub(super) fn score(model: &str, target: &str, seed: &str, value: Option<f64>) -> Score {
        Score {
            experiment: "quickstart".into(),
            stage: "scores".into(),
            model: model.into(),
            dataset: target.into(),
            split: "test".into(),
            seed: seed.into(),
            axes: IndexMap::from([("target".into(), target.into())]),
            metric: "macro_f1".into(),
            value,
            n: 60,
        }
    }

    /// Three models on two targets with two metrics, over three seeds.
    pub(super) fn scores() -> Vec<Score> {
        let mut scores = Vec::new();
        for seed in 0..3 {
            for (t, target) in ["lesions", "fundus"].into_iter().enumerate() {
                for (m, model) in ["LP-FT A", "Average + FT", "MedMerge + FT"].into_iter().enumerate() {
                    let value = 0.7 + 0.05 * m as f64 - 0.1 * t as f64 + 0.01 * f64::from(seed);
                    let score = score(model, target, &seed.to_string(), Some(value));
                    let log_loss =
                        Score { metric: "log_loss".into(), value: Some(1.5 - value), ..score.clone() };
                    scores.extend([score, log_loss]);
                }
            }
        }
        scores
    }

    /// Models × (target, metric).
    pub(super) fn spec() -> TableSpec {
        TableSpec {
            from: vec!["scores".into()],
            rows: "model".into(),
            columns: vec!["target".into(), "metric".into()],
            metrics: vec!["macro_f1".into(), "log_loss".into()],
            over: "seed".into(),
        }
    }

    pub(super) fn axes() -> Vec<String> {
        vec!["target".into()]
    }
}
