//! `[table.<name>]`.

use identity::Identity;
use indexmap::IndexMap;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Over;

/// The value of `compare.to` for the best row of each column.
pub const BEST: &str = "best";

/// A table of scores: `[table.<name>]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// `evaluate` stages whose scores are shown.
    pub from: Vec<String>,
    /// Field whose values are the rows: `model`, `dataset`, or a sweep axis.
    #[serde(default = "model")]
    pub rows: String,
    /// Fields whose values are the columns, outermost first: any of `metric`, `dataset`, `model` and the sweep axes.
    #[serde(default = "metric")]
    pub columns: Vec<String>,
    /// Metrics to show.
    pub metrics: Vec<String>,
    /// Sweep axis over which mean and standard deviation are computed, or several axes that are crossed, such as
    /// `["seed", "source_seed"]`.
    #[serde(default)]
    pub over: Over,
    /// Confidence interval of each mean, shown instead of the standard deviation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<IntervalKind>,
    /// Confidence level of intervals of means and differences, between 0 and 1.
    #[serde(default = "confidence")]
    pub confidence: f64,
    /// Number of bootstrap resamples, 100 to 1000000.
    #[serde(default = "resamples")]
    pub resamples: usize,
    /// Whether images of one group (patient, lesion) are resampled together, in data sets that have groups.
    #[serde(default = "by_group")]
    pub by_group: bool,
    /// Paired test of every row against one row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<CompareSpec>,
    /// Whether to add a column with each row's mean rank.
    #[serde(default)]
    pub rank: bool,
    /// Whether the note says how many optimizer steps each row took on its data set, and of how many images.
    #[serde(default)]
    pub steps: bool,
    /// Text shown in Markdown and LaTeX in place of a name: of an axis or one of its values, a model, a data set, a
    /// metric. Metrics have display names of their own.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub labels: IndexMap<String, String>,
    /// Digits after the decimal point of scores, 0 to 10.
    #[serde(default = "digits")]
    pub digits: usize,
    /// Whether to show scores in percent.
    #[serde(default)]
    pub percent: bool,
    /// Whether to leave out the zero before the decimal point: `.314 [.277, .351]`.
    #[serde(default)]
    pub compact: bool,
}

/// Method for confidence intervals of means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IntervalKind {
    /// Percentiles over resamples of images and of the values of `over`.
    Bootstrap,
    /// Student's t, with random effects of images and of the values of one or two axes of `over`: right for few values.
    RandomEffects,
}

/// A paired test of every row against one row: `compare = { to = "…", … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareSpec {
    /// Label of the reference row, or `best` for the best row of each column.
    pub to: String,
    /// Rows among which `best` is chosen; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub among: Vec<String>,
    /// Rows that are compared; all if empty. Fewer comparisons need a smaller correction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<String>,
    /// Paired, two-sided test.
    #[serde(default)]
    pub test: Test,
    /// Correction for multiple comparisons; all comparisons of a table are one family.
    #[serde(default)]
    pub correction: Correction,
    /// Significance level: cells with a smaller p-value, after correction, are marked.
    #[serde(default = "alpha")]
    pub alpha: f64,
}

/// A paired, two-sided test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Paired bootstrap over images and the values of `over`, with the same draws for both rows.
    #[default]
    PairedBootstrap,
    /// Paired t-test with random effects of images and of the values of one or two axes of `over`: right for few values.
    RandomEffects,
    /// Wilcoxon's signed-rank test over the values of `over`.
    Wilcoxon,
    /// Paired t-test over the values of `over`.
    TTest,
}

/// A correction for multiple comparisons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// Holm's correction: the probability of any false mark in the table is at most alpha.
    #[default]
    Holm,
    /// No correction: the probability of a false mark is alpha for each comparison.
    None,
}

impl CompareSpec {
    /// Whether the row with this label can be the best.
    pub fn admits(&self, label: &str) -> bool {
        self.among.is_empty() || self.among.iter().any(|among| among == label)
    }

    /// Whether the row with this label is compared.
    pub fn compares(&self, label: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|row| row == label)
    }
}

impl Identity for TableSpec {}

impl Kind for TableSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.inner_fraction("confidence", self.confidence);
        let right = (100..=1_000_000).contains(&self.resamples);
        problems.check("resamples", self.resamples, right, "100 to 1000000");
        problems.check("digits", self.digits, self.digits <= 10, "0 to 10");
        for (name, _) in self.labels.iter().filter(|(_, label)| label.trim().is_empty()) {
            let message = format!("the label of `{name}` is empty");
            problems.add(&format!("labels.{name}"), message, Some("write its text, or remove it".into()));
        }
        self.compare.iter().for_each(|compare| problems.inner_fraction("compare.alpha", compare.alpha));
    }
}

impl TableSpec {
    /// Whether images are resampled, which needs the predictions and not only the scores.
    pub fn draws_images(&self) -> bool {
        let test = self.compare.as_ref().map(|compare| compare.test);
        self.interval.is_some() || matches!(test, Some(Test::PairedBootstrap | Test::RandomEffects))
    }

    /// Whether images are resampled by group, where a data set has groups.
    pub fn draws_groups(&self) -> bool {
        self.by_group && self.draws_images()
    }

    /// Whether means or differences come with random effects.
    pub fn has_random_effects(&self) -> bool {
        let test = self.compare.as_ref().map(|compare| compare.test);
        self.interval == Some(IntervalKind::RandomEffects) || test == Some(Test::RandomEffects)
    }
}

impl Default for TableSpec {
    /// An empty table with the default of every other key.
    fn default() -> Self {
        Self {
            from: Vec::new(),
            rows: model(),
            columns: metric(),
            metrics: Vec::new(),
            over: Over::default(),
            interval: None,
            confidence: confidence(),
            resamples: resamples(),
            by_group: by_group(),
            compare: None,
            rank: false,
            steps: false,
            labels: IndexMap::new(),
            digits: digits(),
            percent: false,
            compact: false,
        }
    }
}

fn model() -> String {
    "model".into()
}

fn metric() -> Vec<String> {
    vec!["metric".into()]
}

fn confidence() -> f64 {
    0.95
}

fn resamples() -> usize {
    2000
}

fn by_group() -> bool {
    true
}

fn digits() -> usize {
    3
}

fn alpha() -> f64 {
    0.05
}
