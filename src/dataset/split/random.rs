//! A random split from a seed, stratified by class, in whole groups.

use identity::Identity;
use kind::Problems;

use super::strata::by_class;
use super::*;

/// A random split from a seed: the same fractions of every class, as near as whole groups allow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RandomSplitSpec {
    /// Fraction of validation images.
    pub val: f64,
    /// Fraction of test images. The rest is for training.
    pub test: f64,
    /// Seed of the split.
    pub seed: u64,
}

impl Default for RandomSplitSpec {
    fn default() -> Self {
        Self { val: 0.1, test: 0.1, seed: 0 }
    }
}

impl Identity for RandomSplitSpec {}

impl Kind for RandomSplitSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.fraction_below_1("val", self.val);
        problems.fraction_below_1("test", self.test);
    }

    fn validate_together(&self, problems: &mut Problems) {
        let (val, test) = (self.val, self.test);
        if val + test >= 1.0 {
            let message = format!("`val` ({val}) and `test` ({test}) leave no training images");
            problems.add("val", message, None);
        }
    }
}

impl SplitKind for RandomSplitSpec {
    fn assign(&self, _: &Path, images: &[Listed]) -> Result<Vec<Option<SplitName>>, DataError> {
        let all: Vec<usize> = (0..images.len()).collect();
        let [test, val] = by_class(images, &all, self.seed).taken(&[self.test, self.val]);
        let mut splits = vec![Some(SplitName::Train); images.len()];
        for (positions, split) in [(test, SplitName::Test), (val, SplitName::Val)] {
            positions.into_iter().for_each(|position| splits[position] = Some(split));
        }
        Ok(splits)
    }
}
