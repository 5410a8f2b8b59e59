//! Cross-validation: one of k folds is for testing.

use identity::Identity;
use kind::Problems;

use super::strata::by_class;
use super::*;

/// One split of a k-fold cross-validation, stratified by class, in whole groups. With `fold = "${fold}"` and the axis
/// `fold = [0, 1, 2, 3, 4]`, every image is a test image once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FoldsSplitSpec {
    /// Number of folds.
    #[serde(default = "folds")]
    pub folds: usize,
    /// The fold for testing, from 0.
    pub fold: usize,
    /// Fraction of the images outside of that fold for validation.
    #[serde(default = "val")]
    pub val: f64,
    /// Seed of the folds.
    #[serde(default)]
    pub seed: u64,
}

fn folds() -> usize {
    5
}

fn val() -> f64 {
    0.1
}

/// Largest number of folds.
const MOST: usize = 1000;

impl Identity for FoldsSplitSpec {}

impl Kind for FoldsSplitSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.check("folds", self.folds, (2..=MOST).contains(&self.folds), &format!("2 to {MOST}"));
        problems.fraction_below_1("val", self.val);
    }

    fn validate_together(&self, problems: &mut Problems) {
        let (fold, folds) = (self.fold, self.folds);
        problems.check("fold", fold, fold < folds, &format!("0 to {}, below `folds`", folds - 1));
    }
}

impl SplitKind for FoldsSplitSpec {
    fn assign(&self, _: &Path, images: &[Listed]) -> Result<Vec<Option<SplitName>>, DataError> {
        let all: Vec<usize> = (0..images.len()).collect();
        let mut splits = vec![Some(SplitName::Train); images.len()];
        for (position, fold) in by_class(images, &all, self.seed).folds(self.folds) {
            if fold == self.fold {
                splits[position] = Some(SplitName::Test);
            }
        }
        let rest: Vec<usize> =
            all.into_iter().filter(|&position| splits[position] == Some(SplitName::Train)).collect();
        let [val] = by_class(images, &rest, self.seed).taken(&[self.val]);
        val.into_iter().for_each(|position| splits[position] = Some(SplitName::Val));
        Ok(splits)
    }
}
