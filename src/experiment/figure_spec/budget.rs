//! Scores along an axis: `[figure.<name>.budget]`.

use identity::Identity;
use kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FigureKind, Named, Shows, rows};
use crate::over::Over;

/// A score against an axis of numbers, such as a share of the labels: one line per model, with a band of one standard
/// deviation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetSpec {
    /// `evaluate` stages whose scores are shown.
    pub from: Vec<String>,
    /// Sweep axis along which scores are shown; its values are numbers.
    pub x: String,
    /// The score to show.
    pub metric: String,
    /// Rows of these stages to show, models or ensembles; all if empty.
    #[serde(default)]
    pub models: Vec<String>,
    /// Data sets to show; all if empty.
    #[serde(default)]
    pub datasets: Vec<String>,
    /// Sweep axis over which mean and standard deviation are computed, or several axes, such as
    /// `["seed", "source_seed"]`. There is a panel for each value of the others.
    #[serde(default)]
    pub over: Over,
    /// Whether the horizontal axis is logarithmic.
    #[serde(default)]
    pub log: bool,
    /// Whether to also write the figure as PDF, to `<figure>.pdf`. Needs a sans-serif font on this machine.
    #[serde(default)]
    pub pdf: bool,
}

impl Identity for BudgetSpec {}
impl Kind for BudgetSpec {}

impl FigureKind for BudgetSpec {
    fn from(&self) -> &[String] {
        &self.from
    }

    fn pdf(&self) -> bool {
        self.pdf
    }

    fn shows(&self) -> Shows {
        Shows::Scores
    }

    fn names(&self) -> Vec<(String, Named, &str)> {
        let numbers = if self.log { Named::PositiveAxis } else { Named::NumberAxis };
        let mut names = vec![
            ("x".to_owned(), numbers, self.x.as_str()),
            ("metric".to_owned(), Named::Metric, self.metric.as_str()),
        ];
        // the default is for every sweep, also for one without seeds
        let over = self.over.axes().iter().filter(|_| self.over != Over::default());
        names.extend(over.map(|axis| ("over".to_owned(), Named::Axis, axis.as_str())));
        names.extend(rows(&self.models, &self.datasets));
        names
    }

    fn conflict(&self) -> Option<(&'static str, String, String)> {
        let message = format!("`x` and `over` are both `{}`", self.x);
        let help = "scores along an axis cannot be put together over it; leave it out of `over`";
        let is_both = self.over != Over::default() && self.over.axes().contains(&self.x);
        is_both.then(|| ("over", message, help.into()))
    }
}
