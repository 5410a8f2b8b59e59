//! The way between two networks: `[figure.<name>.barrier]`.

use identity::Identity;
use kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FigureKind, Named, Shows, rows};

/// A score on the line between two networks: one line per way of merging them, and the straight line between the scores
/// of both ends. The barrier is the most that a score is worse than that line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BarrierSpec {
    /// `evaluate` stages whose scores are shown.
    pub from: Vec<String>,
    /// Sweep axis with the second network's weight.
    pub x: String,
    /// Whether `x` is the weight beside a weight of 1 of the first network, not the second's share of both.
    #[serde(default)]
    pub ratio: bool,
    /// Rows of the first network and of the second.
    pub ends: [String; 2],
    /// The score to show.
    #[serde(default = "log_loss")]
    pub metric: String,
    /// Rows of merged networks to show; all if empty.
    #[serde(default)]
    pub models: Vec<String>,
    /// Data sets to show; all if empty.
    #[serde(default)]
    pub datasets: Vec<String>,
    /// Whether to also write the figure as PDF, to `<figure>.pdf`. Needs a sans-serif font on this machine.
    #[serde(default)]
    pub pdf: bool,
}

fn log_loss() -> String {
    "log_loss".into()
}

impl Identity for BarrierSpec {}
impl Kind for BarrierSpec {}

impl FigureKind for BarrierSpec {
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
        let mut names = vec![
            ("x".to_owned(), Named::NumberAxis, self.x.as_str()),
            ("metric".to_owned(), Named::Metric, self.metric.as_str()),
        ];
        let ends = self.ends.iter().enumerate();
        names.extend(ends.map(|(i, end)| (format!("ends.{i}"), Named::Model, end.as_str())));
        names.extend(rows(&self.models, &self.datasets));
        names
    }
}
