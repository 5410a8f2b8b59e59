//! Label budgets: training as if only some of the images had been labeled.
//!
//! The same fraction of the training images of each class is kept, so the budget is stratified; a number of images is
//! the fraction that it is of the split. The images of a class are shuffled once per seed, and a budget keeps the first
//! of them, so the images of a 5 % budget are a subset of those of a 10 % budget. Test images are not affected, and
//! validation images only by a number of their own.
//!
//! Groups (patients, lesions) are drawn whole: a group counts for the class that is most frequent in it, the smaller
//! label of several, and the first groups of a class are kept as long as each brings the number of images nearer to the
//! wanted one. Validation images are drawn one by one, since it is known only of training images which are in one group.
//!
//! Images of a multi-label data set are drawn as if all were of one class.

mod draw;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use self::draw::Draw;
use super::{DataError, Dataset, DatasetSpec, Split, SplitName, Summary};

/// Keys shared by all kinds of data sets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LabelBudget {
    /// Fraction of each class's training images that is kept, above 0 and up to 1.
    pub label_fraction: f64,
    /// Number of training images that are kept, in place of `label_fraction`: in proportion to the classes, rounded for
    /// each and at least one; all if there are fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_count: Option<usize>,
    /// Number of validation images that are kept, likewise; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_count: Option<usize>,
    /// Seed of the choice of images to keep.
    pub label_seed: u64,
}

impl Default for LabelBudget {
    fn default() -> Self {
        Self { label_fraction: 1.0, label_count: None, val_count: None, label_seed: 0 }
    }
}

impl identity::Identity for LabelBudget {}

impl kind::Kind for LabelBudget {
    fn validate(&self, problems: &mut kind::Problems) {
        problems.fraction_above_0("label_fraction", self.label_fraction);
        self.label_count.iter().for_each(|&count| problems.at_least("label_count", count, 1));
        self.val_count.iter().for_each(|&count| problems.at_least("val_count", count, 1));
        if self.label_count.is_some() && self.label_fraction < 1.0 {
            let message = "`label_count` and `label_fraction` both say how many training images are kept";
            problems.add("label_count", message, Some("leave one of them out".to_owned()));
        }
    }
}

impl LabelBudget {
    /// What is kept of a split with this number of images; `None` if all are.
    fn draw(&self, split: SplitName, images: usize) -> Option<Draw> {
        let of = |count: Option<usize>| count.map(|count| count as f64 / images as f64);
        let fraction = match split {
            SplitName::Train => of(self.label_count).unwrap_or(self.label_fraction),
            SplitName::Val => of(self.val_count)?,
            SplitName::Test => return None,
        };
        (fraction < 1.0).then_some(Draw { fraction, seed: self.label_seed, split })
    }

    /// The budget without the keys that keep all of these images.
    pub fn effective(&self, whole: &Summary) -> Self {
        let limits = |split| self.draw(split, whole.images(split)).is_some();
        let train = limits(SplitName::Train);
        Self {
            label_fraction: if train { self.label_fraction } else { 1.0 },
            label_count: self.label_count.filter(|_| train),
            val_count: self.val_count.filter(|_| limits(SplitName::Val)),
            label_seed: self.label_seed,
        }
    }

    /// Whether all images are kept, for any seed, of a data set for which the budget is [effective](Self::effective).
    pub fn is_whole(&self) -> bool {
        self.label_fraction >= 1.0 && self.label_count.is_none() && self.val_count.is_none()
    }

    /// Summary of the images that are kept of a data set, `spec`.
    ///
    /// # Errors
    /// A number of validation images is set, and they have several labels.
    pub fn summary_of(&self, spec: &DatasetSpec, whole: Summary) -> Result<Summary, DataError> {
        let file = || spec.files().into_iter().next().unwrap_or_default();
        self.summary(whole).map_err(|message| DataError::new(&file(), message))
    }

    fn summary(&self, mut whole: Summary) -> Result<Summary, &'static str> {
        let [train, val] =
            [SplitName::Train, SplitName::Val].map(|split| self.draw(split, whole.images(split)));
        if val.is_some() && whole.multi_label.is_some() {
            return Err(
                "`val_count` is for one class per image, but this data set is multi-label; leave it out",
            );
        }
        train.iter().for_each(|draw| draw.of_training(&mut whole));
        let of_class = |count: &mut usize| val.iter().for_each(|draw| *count = draw.kept(*count));
        whole.counts[SplitName::Val as usize].iter_mut().for_each(of_class);
        Ok(whole)
    }

    /// The images that are kept, in their original order.
    pub fn dataset(&self, whole: Dataset) -> Dataset {
        let kept = |split: &Split, name: SplitName| {
            self.draw(name, split.len()).map(|draw| draw.of_split(split, whole.classes.len()))
        };
        let (train, val) = (kept(&whole.train, SplitName::Train), kept(&whole.val, SplitName::Val));
        Dataset { train: train.unwrap_or(whole.train), val: val.unwrap_or(whole.val), ..whole }
    }
}

impl Summary {
    /// Digest of which training images are in the same group, in hexadecimal; `None` without groups. The content's
    /// digest does not have them, since only a label budget depends on them.
    pub fn groups_digest(&self) -> Option<String> {
        let mut hasher = blake3::Hasher::new();
        for group in self.train_groups.as_ref()? {
            hasher.update(&(group.len() as u64).to_le_bytes());
            for (position, _) in group {
                hasher.update(&position.to_le_bytes());
            }
        }
        Some(hasher.finalize().to_hex().to_string())
    }
}
