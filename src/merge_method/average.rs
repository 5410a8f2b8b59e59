//! The (weighted) mean of every tensor.

use serde::{Deserialize, Serialize};

/// Options of the average.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AverageSpec {
    /// One number a source; equal shares if absent. They are divided by their sum.
    pub weights: Option<Vec<f64>>,
}
