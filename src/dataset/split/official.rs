//! The split that the data set itself states: its folders, or a column of its CSV.

use identity::Identity;
use kind::Problems;

use super::strata::by_class;
use super::*;

/// The split that the data set itself states.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfficialSplitSpec {
    /// Fraction of the training images to set aside for validation where the data set states no validation images:
    /// whole groups, stratified by class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val: Option<f64>,
    /// Seed of the choice of `val`.
    #[serde(default)]
    pub seed: u64,
}

impl Identity for OfficialSplitSpec {}

impl Kind for OfficialSplitSpec {
    fn validate(&self, problems: &mut Problems) {
        self.val.iter().for_each(|&val| problems.inner_fraction("val", val));
    }
}

impl SplitKind for OfficialSplitSpec {
    fn assign(&self, list: &Path, images: &[Listed]) -> Result<Vec<Option<SplitName>>, DataError> {
        let mut splits = Vec::with_capacity(images.len());
        for image in images {
            let missing = || image.error(format!("image '{}' has no split; {ADVICE}", image.name));
            splits.push(Some(image.split.ok_or_else(missing)?));
        }
        match self.val {
            Some(_) if splits.contains(&Some(SplitName::Val)) => {
                let message = "the data set states its validation images; remove `val` from `split.official`";
                Err(DataError::new(list, message))
            }
            Some(val) => Ok(self.set_aside(val, images, splits)),
            None => Ok(splits),
        }
    }
}

const ADVICE: &str = "set `split`, for example `split.random = { val = 0.1, test = 0.2 }`";

impl OfficialSplitSpec {
    fn set_aside(
        &self,
        val: f64,
        images: &[Listed],
        mut splits: Vec<Option<SplitName>>,
    ) -> Vec<Option<SplitName>> {
        let is_train = |position: &usize| splits[*position] == Some(SplitName::Train);
        let train: Vec<usize> = (0..images.len()).filter(is_train).collect();
        let [val] = by_class(images, &train, self.seed).taken(&[val]);
        val.into_iter().for_each(|position| splits[position] = Some(SplitName::Val));
        splits
    }
}
