//! The equal mean of models that were fine-tuned from a common start on one data set (model soups, arXiv
//! 2203.05482). The numbers are those of an average; the method stands for what it was made for, and the stage
//! refuses models without a head for the same data set.

use identity::Identity;
use kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KnownMerge, MergeMethod, MergeTensors};
use model::Head;
use model::head::shared_head;

use super::average::{Average, AverageSpec};

/// Why heads of different data sets make no soup.
const NO_SOUP: &str = "`uniform_soup` averages models that were fine-tuned from a common start on one data set, but \
                       not all of these have a head for the same data set; for others, `method = \"average\"`";

/// The equal mean of models that were fine-tuned from a common start on one data set (model soups, arXiv 2203.05482).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UniformSoupSpec {}

impl Identity for UniformSoupSpec {}

impl Kind for UniformSoupSpec {}

impl MergeMethod for UniformSoupSpec {
    fn needs_one_start(&self) -> bool {
        true
    }

    fn head(&self, merge: &KnownMerge<'_>) -> Result<Option<Head>, Vec<String>> {
        match shared_head(&merge.sources) {
            None => Err(vec![NO_SOUP.into()]),
            head => Ok(head),
        }
    }

    fn formula(&self, sources: usize) -> Option<Box<dyn MergeTensors>> {
        Some(Box::new(self.of(sources)))
    }
}

impl UniformSoupSpec {
    /// The soup of so many models.
    pub fn of(&self, sources: usize) -> Average {
        AverageSpec::default().of(sources)
    }
}
