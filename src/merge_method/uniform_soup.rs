//! The mean of models that were fine-tuned from a common start on one data set (model soups, arXiv 2203.05482). It
//! computes the same as `average`, but the stage rejects models without a head for the same data set.

use identity::Identity;
use kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KnownMerge, MergeMethod, MergeTensors};
use model::Head;
use model::head::shared_head;

use super::average::{Average, AverageSpec};

/// The error for heads of different data sets.
const NO_SOUP: &str = "`uniform_soup` averages models that were fine-tuned from a common start on one data set, but \
                       not all of these have a head for the same data set; otherwise use `method = \"average\"`";

/// The mean of models that were fine-tuned from a common start on one data set (model soups, arXiv 2203.05482).
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
        Some(Box::new(self.build(sources)))
    }
}

impl UniformSoupSpec {
    /// The soup of `sources` models.
    pub fn build(&self, sources: usize) -> Average {
        AverageSpec::default().build(sources)
    }
}
