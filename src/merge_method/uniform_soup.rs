//! The equal mean of models that were fine-tuned from a common start on one data set (model soups, arXiv
//! 2203.05482). The numbers are those of an average; the method stands for what it was made for, and the stage
//! refuses models without a head for the same data set.

use serde::{Deserialize, Serialize};

use super::average::{Average, AverageSpec};

/// It has no options.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UniformSoupSpec {}

impl UniformSoupSpec {
    /// The soup of so many models.
    pub fn of(&self, sources: usize) -> Average {
        AverageSpec::default().of(sources)
    }
}
