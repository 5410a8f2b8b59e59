//! Differences with their intervals: `[figure.<name>.forest]`.

use identity::Identity;
use kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FigureKind, Named, Shows};

/// The differences to the row that a table compares with, and their confidence intervals, column by column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForestSpec {
    /// A table with `compare` and a test that has intervals.
    pub table: String,
    /// Whether to also write the figure as PDF, to `<figure>.pdf`. Needs a sans-serif font on this machine.
    #[serde(default)]
    pub pdf: bool,
}

impl Identity for ForestSpec {}
impl Kind for ForestSpec {}

impl FigureKind for ForestSpec {
    fn from(&self) -> &[String] {
        &[]
    }

    fn pdf(&self) -> bool {
        self.pdf
    }

    fn shows(&self) -> Shows {
        Shows::Table
    }

    fn names(&self) -> Vec<(String, Named, &str)> {
        vec![("table".to_owned(), Named::Table, &self.table)]
    }

    fn table(&self) -> Option<&str> {
        Some(&self.table)
    }
}
