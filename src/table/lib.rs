//! Result tables: tidy scores to CSV, Markdown and LaTeX.
//!
//! | file | what |
//! |---|---|
//! | [`spec`] | `[table.<name>]` |
//! | [`metrics_csv`] | `metrics.csv`: one row per score, written and read |
//! | `layout` | rows × columns × values of `over` |
//! | `groups` | predictions, and what of them is resampled: images, or groups of them |
//! | [`pivot`] | means, standard deviations, intervals and ranks in rows × columns |
//! | `resample` | scores of resampled images, from predictions |
//! | `draws` | values of `over`: where scores stand, and draws of them |
//! | `method` | the names of intervals and tests, for notes, files and figures |
//! | [`compare`] | comparisons of every row with one reference row |
//! | `table_csv`, `compare_csv`, `markdown`, `latex`, `html`, `terminal` | renderings of a pivot |
//! | `names` | names for readers of Markdown and LaTeX |
//! | `text`, `note` | cells, headers and the note below, shared by the renderings |
//! | `repeats` | rows that repeat the scores of one model, for the note |
//! | `steps` | how long models were trained, for the note |
//! | `undetermined` | why cells have no interval and comparisons no p |
//! | `write` | the files under `results/<experiment>/` |

pub mod compare;
mod compare_csv;
#[cfg(test)]
mod crossed_tests;
mod draws;
mod error;
mod groups;
pub mod html;
mod latex;
mod layout;
mod markdown;
mod method;
pub mod metrics_csv;
mod names;
mod note;
pub mod pivot;
mod repeats;
mod resample;
mod steps;
mod table_csv;
mod terminal;
mod text;
mod undetermined;
mod write;

use std::sync::Arc;

use indexmap::IndexMap;

use experiment::cell::Fields;

pub use compare_csv::render as compare_csv;
pub use error::TableError;
pub use experiment::TableSpec;
pub use experiment::table_spec as spec;
pub use groups::Predicted;
pub use method::compared_by;
pub use note::percent;
pub use pivot::Pivot;
pub use steps::Steps;
pub use write::write_file;
pub use write::{Rendered, check_writable, write_results};

/// A score: one row of `metrics.csv`.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Name of the experiment.
    pub experiment: String,
    /// Name of the `evaluate` stage.
    pub stage: String,
    /// Row label of the model.
    pub model: String,
    /// Name of the data set.
    pub dataset: String,
    /// `train`, `val` or `test`.
    pub split: String,
    /// Value of the axis `seed`; empty without this axis.
    pub seed: String,
    /// Values of the other axes of the experiment; empty where an axis does not apply.
    pub axes: IndexMap<String, String>,
    /// Name of the metric.
    pub metric: String,
    /// The score; `None` if it is undefined (AUROC with a class absent).
    pub value: Option<f64>,
    /// Number of images.
    pub n: usize,
    /// The predictions it was computed from, if a table resamples images.
    pub predicted: Option<Arc<Predicted>>,
    /// What the note of a table must say about the data set, as sentences without an end: leaks between splits that the
    /// experiment allows.
    pub caveats: Arc<[String]>,
    /// How long its model was trained on the data set; `None` if that is not known.
    pub steps: Option<Steps>,
    /// Fingerprint of its model, which tells repeated scores of one model from scores of several; `None` if it is not
    /// known.
    pub model_fingerprint: Option<String>,
}

impl Score {
    /// Fields for the layout of tables, in addition to the sweep axes.
    const FIELDS: [&'static str; 6] = ["model", "dataset", "metric", "stage", "split", "seed"];

    /// The value, if it is defined and not NaN.
    fn defined(&self) -> Option<f64> {
        self.value.filter(|value| value.is_finite())
    }
}

impl Fields for Score {
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
}

/// CSV text of records of equal length.
pub fn csv_text(records: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for record in records {
        writer.write_record(&record).expect("records of one length, written to memory");
    }
    let bytes = writer.into_inner().expect("writing to memory cannot fail");
    String::from_utf8(bytes).expect("made of strings")
}

/// The shortest text that parses as the same number; empty for `None`.
pub fn number_text(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:?}"))
}

/// Scores for the tests of this crate.
#[cfg(test)]
mod example {
    use metric::Predictions;
    use rng::name_index;

    use super::spec::{CompareSpec, Correction, IntervalKind, Test};
    use super::*;

    /// A macro F1 score of a model on a target with a seed.
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
            caveats: Arc::default(),
            steps: None,
            model_fingerprint: None,
        }
    }

    /// The same for 60 images of three classes, predicted with about this accuracy, pseudo-randomly by the names.
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
        let predicted = Some(Arc::new(Predicted::new(&names, &labels.into(), predictions)));
        Score { predicted, ..score(model, target, &seed.to_string(), value) }
    }

    /// Three models on two targets, over three seeds, with predictions; the last model is by far the best.
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

    /// All features of a table: intervals, a comparison, ranks.
    pub(super) fn full_spec() -> TableSpec {
        let compare = CompareSpec {
            to: "LP-FT A".into(),
            among: Vec::new(),
            rows: Vec::new(),
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
