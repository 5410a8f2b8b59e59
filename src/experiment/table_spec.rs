//! `[table.<name>]`.

use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The word in place of a row label in `to`: the best row of each column.
pub const BEST: &str = "best";

/// What a table shows, and how sure it says to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// An interval beside each mean, in place of the standard deviation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<IntervalKind>,
    /// Confidence of intervals, of means and of differences.
    #[serde(default = "confidence")]
    pub confidence: f64,
    /// How often the bootstrap draws.
    #[serde(default = "resamples")]
    pub resamples: usize,
    /// A test of every row against one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<CompareSpec>,
    /// Whether a last column holds each row's mean rank.
    #[serde(default)]
    pub rank: bool,
}

/// How intervals of means are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IntervalKind {
    /// Percentiles of resamples of images and of the values of `over`.
    Bootstrap,
}

/// `compare = { to = "…", … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareSpec {
    /// A row label, or `best`: the best row of each column.
    pub to: String,
    /// The rows that `best` is one of; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub among: Vec<String>,
    /// The test.
    #[serde(default)]
    pub test: Test,
    /// What is done about several comparisons; all of a table are one family.
    #[serde(default)]
    pub correction: Correction,
    /// Cells whose p is below it, after correction, are marked.
    #[serde(default = "alpha")]
    pub alpha: f64,
}

/// A paired, two-sided test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Over images and the values of `over`, drawn together for both rows.
    #[default]
    PairedBootstrap,
    /// Wilcoxon's signed-rank test over the values of `over`.
    Wilcoxon,
    /// The paired t test over the values of `over`.
    TTest,
}

/// What is done about several comparisons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// Holm's: the chance of any wrong mark in the table is at most alpha.
    #[default]
    Holm,
    /// Nothing: each comparison has the chance alpha of a wrong mark.
    None,
}

impl CompareSpec {
    /// Whether the row of this label may be the best.
    pub fn admits(&self, label: &str) -> bool {
        self.among.is_empty() || self.among.iter().any(|among| among == label)
    }
}

impl Identity for TableSpec {}

impl Kind for TableSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.inner_fraction("confidence", self.confidence);
        let right = (100..=1_000_000).contains(&self.resamples);
        problems.check("resamples", self.resamples, right, "100 to 1000000");
        self.compare.iter().for_each(|compare| problems.inner_fraction("compare.alpha", compare.alpha));
    }
}

impl TableSpec {
    /// Whether images are drawn anew, which takes the predictions behind the scores.
    pub fn draws_images(&self) -> bool {
        let test = self.compare.as_ref().map(|compare| compare.test);
        self.interval.is_some() || test == Some(Test::PairedBootstrap)
    }
}

impl Default for TableSpec {
    /// Of nothing; every other key as if it were left out.
    fn default() -> Self {
        Self {
            from: Vec::new(),
            rows: model(),
            columns: metric(),
            metrics: Vec::new(),
            over: seed(),
            interval: None,
            confidence: confidence(),
            resamples: resamples(),
            compare: None,
            rank: false,
        }
    }
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

fn confidence() -> f64 {
    0.95
}

fn resamples() -> usize {
    2000
}

fn alpha() -> f64 {
    0.05
}
