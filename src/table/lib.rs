//! Result tables: tidy scores in, CSV, Markdown and LaTeX out.
//!
//! | file | what |
//! |---|---|
//! | [`spec`] | `[table.<name>]` |
//! | [`metrics_csv`] | `metrics.csv`: every score in a row of its own, written and read |
//! | `layout` | which score stands where |
//! | [`pivot`] | rows × columns of mean and standard deviation, intervals, ranks |
//! | `resample` | scores of resampled images, from the predictions behind the scores |
//! | [`compare`] | every row against one of them |
//! | `table_csv`, `compare_csv`, `markdown`, `latex`, `terminal` | the ways in which a pivot is shown |
//! | `text`, `note` | what the renderings for people share: cells, headers, the note below |
//! | `write` | the files under `results/<experiment>/` |

pub mod compare;
mod compare_csv;
mod error;
mod latex;
mod layout;
mod markdown;
pub mod metrics_csv;
mod note;
pub mod pivot;
mod resample;
mod table_csv;
mod terminal;
mod text;
mod write;

use std::sync::Arc;

use indexmap::IndexMap;

use metric::Predictions;
use rng::name_index;

pub use error::TableError;
pub use experiment::TableSpec;
pub use experiment::table_spec as spec;
pub use pivot::Pivot;
pub use write::write_file;
pub use write::{Rendered, write_results};

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
    /// What it was computed from, if a table draws images anew.
    pub predicted: Option<Arc<Predicted>>,
}

/// Predictions, and which images they are of.
#[derive(Debug)]
pub struct Predicted {
    /// Stands for the names and labels of the images, in their order.
    images: u64,
    predictions: Predictions,
}

impl Predicted {
    /// Predictions of images with these names and labels, in their order.
    pub fn new(names: &[String], labels: &[u32], predictions: Predictions) -> Self {
        let images: Vec<String> =
            names.iter().zip(labels).map(|(name, label)| format!("{label} {name}")).collect();
        Self { images: name_index(&images.join("\n")), predictions }
    }
}

impl PartialEq for Predicted {
    fn eq(&self, other: &Self) -> bool {
        self.images == other.images && self.predictions.images().eq(other.predictions.images())
    }
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
pub fn csv_text(records: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for record in records {
        writer.write_record(&record).expect("records of one length, written to memory");
    }
    let bytes = writer.into_inner().expect("writing to memory cannot fail");
    String::from_utf8(bytes).expect("made of strings")
}

/// Shortest text that reads back as the same number; empty where there is none.
pub fn number_text(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:?}"))
}

/// Scores for the tests of this folder.
#[cfg(test)]
mod example {
    use super::spec::{CompareSpec, Correction, IntervalKind, Test};
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
            predicted: None,
        }
    }

    /// The same of 60 images of three classes, of which as many are predicted right; by names of the target's.
    pub(super) fn predicted_score(model: &str, target: &str, seed: u64, right: f64) -> Score {
        let labels: Vec<u32> = (0..60).map(|image| image % 3).collect();
        let names: Vec<String> = labels.iter().enumerate().map(|(i, _)| format!("{target}/{i}")).collect();
        let luck =
            |image: u64| (name_index(&format!("{model} {target} {seed} {image}")) % 1000) as f64 / 1000.0;
        let row = |(image, &label): (u64, &u32)| -> Vec<f32> {
            let predicted = if luck(image) < right { label } else { (label + 1) % 3 };
            (0..3).map(|class| if class == predicted { 0.6 } else { 0.2 }).collect()
        };
        let rows: Vec<Vec<f32>> = (0..).zip(&labels).map(row).collect();
        let predictions = Predictions::new(&labels, &rows, 3).unwrap();
        let value = metric::by_name("macro_f1").unwrap().score(&predictions);
        let predicted = Some(Arc::new(Predicted::new(&names, &labels, predictions)));
        Score { predicted, ..score(model, target, &seed.to_string(), value) }
    }

    /// Three models on two targets, over three seeds, with predictions; the last model is much the best.
    pub(super) fn predicted_scores() -> Vec<Score> {
        let models = [("LP-FT A", 0.6), ("Average + FT", 0.65), ("MedMerge + FT", 0.9)];
        let seeds = (0..3).flat_map(|seed| ["lesions", "fundus"].map(|target| (seed, target)));
        let of = |(seed, target)| models.map(|(model, right)| predicted_score(model, target, seed, right));
        seeds.flat_map(of).collect()
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
            ..TableSpec::default()
        }
    }

    /// Everything that a table can say: intervals, a comparison, ranks.
    pub(super) fn full_spec() -> TableSpec {
        let compare = CompareSpec {
            to: "LP-FT A".into(),
            among: Vec::new(),
            test: Test::PairedBootstrap,
            correction: Correction::Holm,
            alpha: 0.05,
        };
        TableSpec {
            interval: Some(IntervalKind::Bootstrap),
            resamples: 500,
            compare: Some(compare),
            rank: true,
            ..spec()
        }
    }

    pub(super) fn axes() -> Vec<String> {
        vec!["target".into()]
    }
}
