//! Label budgets: training as if only a fraction of the training images had been labeled.
//!
//! The same fraction of the training images of each class is kept, so the budget is stratified. The images of a class
//! are shuffled once per seed, and a budget keeps the first of them, so the images of a 5 % budget are a subset of
//! those of a 10 % budget. Validation and test images are not affected.

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::{Dataset, Pixels, Split, SplitName, Summary};
use rng::{Purpose, rng};

/// Keys shared by all kinds of data sets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LabelBudget {
    /// Fraction of each class's training images that is kept, above 0 and up to 1.
    pub label_fraction: f64,
    /// Seed of the choice of images to keep.
    pub label_seed: u64,
}

impl Default for LabelBudget {
    fn default() -> Self {
        Self { label_fraction: 1.0, label_seed: 0 }
    }
}

impl identity::Identity for LabelBudget {}

impl kind::Kind for LabelBudget {
    fn validate(&self, problems: &mut kind::Problems) {
        problems.fraction_above_0("label_fraction", self.label_fraction);
    }
}

impl LabelBudget {
    /// Whether all images are kept, for any seed.
    pub fn is_whole(&self) -> bool {
        self.label_fraction >= 1.0
    }

    /// Number of images kept of a class with `images` images: rounded to the nearest integer (half up), and at least
    /// one.
    pub fn kept(&self, images: usize) -> usize {
        ((self.label_fraction * images as f64).round() as usize).max(1).min(images)
    }

    /// Summary of the images that are kept.
    pub fn summary(&self, mut whole: Summary) -> Summary {
        whole.counts[SplitName::Train as usize].iter_mut().for_each(|count| *count = self.kept(*count));
        whole
    }

    /// The images that are kept, in their original order.
    pub fn dataset(&self, whole: Dataset) -> Dataset {
        if self.is_whole() {
            return whole;
        }
        let positions = self.positions(&whole.train.labels, whole.classes.len());
        let train = part(&whole.train, &positions, 3 * whole.size * whole.size);
        Dataset { train, ..whole }
    }

    /// Positions of the images that are kept, given their labels, in their original order.
    fn positions(&self, labels: &[u32], classes: usize) -> Vec<usize> {
        let mut of_class = vec![Vec::new(); classes];
        labels.iter().enumerate().for_each(|(position, &label)| of_class[label as usize].push(position));
        let mut kept = Vec::new();
        for (class, mut images) in of_class.into_iter().enumerate() {
            images.shuffle(&mut rng(self.label_seed, Purpose::LabelBudget, 0, class as u64));
            kept.extend_from_slice(&images[..self.kept(images.len())]);
        }
        kept.sort_unstable();
        kept
    }
}

/// The images at the given positions of a split.
fn part(split: &Split, positions: &[usize], image_bytes: usize) -> Split {
    let images: Vec<&[u8]> =
        positions.iter().map(|position| &split.pixels[position * image_bytes..][..image_bytes]).collect();
    Split {
        pixels: Pixels::Owned(images.concat().into()),
        labels: positions.iter().map(|&position| split.labels[position]).collect(),
        names: positions.iter().map(|&position| split.names[position].clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::DatasetKind;
    use crate::phantom::{Family, PhantomSpec};

    fn budget(label_fraction: f64, label_seed: u64) -> LabelBudget {
        LabelBudget { label_fraction, label_seed }
    }

    fn phantom() -> Dataset {
        let spec = PhantomSpec { family: Family::Xray, size: 8, train: 40, val: 9, test: 7, seed: 1 };
        spec.load(None).unwrap()
    }

    #[test]
    fn images_keep_their_pixels_labels_names_and_order_and_other_splits_are_whole() {
        let whole = phantom();
        let some = budget(0.3, 5).dataset(whole.clone());
        let positions: Vec<usize> = some
            .train
            .names
            .iter()
            .map(|name| whole.train.names.iter().position(|other| other == name).unwrap())
            .collect();
        assert!(positions.is_sorted() && (10..=14).contains(&positions.len()), "{positions:?}");
        for (i, &position) in positions.iter().enumerate() {
            assert_eq!(some.train.labels[i], whole.train.labels[position]);
            assert_eq!(some.train.pixels[192 * i..][..192], whole.train.pixels[192 * position..][..192]);
        }
        for split in [SplitName::Val, SplitName::Test] {
            assert_eq!(some.split(split).names, whole.split(split).names);
            assert_eq!(some.split(split).pixels[..], whole.split(split).pixels[..]);
        }
    }

    #[test]
    fn the_summary_describes_what_is_kept() {
        let spec = PhantomSpec { family: Family::Xray, size: 8, train: 40, val: 9, test: 7, seed: 1 };
        let whole = spec.summary().unwrap();
        for fraction in [0.01, 0.25, 0.5, 1.0] {
            let budget = budget(fraction, 0);
            let dataset = budget.dataset(phantom());
            let summary = budget.summary(whole.clone());
            let counted: Vec<usize> = (0..summary.classes.len() as u32)
                .map(|class| dataset.train.labels.iter().filter(|&&label| label == class).count())
                .collect();
            assert_eq!(summary.counts[0], counted);
            assert_eq!(summary.counts[1..], whole.counts[1..]);
            assert_eq!(summary.digest, whole.digest, "the content of the files is the same");
        }
    }

    #[test]
    fn another_seed_keeps_other_images() {
        let labels = vec![0; 100];
        assert_ne!(budget(0.2, 0).positions(&labels, 1), budget(0.2, 1).positions(&labels, 1));
    }

    #[test]
    fn classes_do_not_share_an_order() {
        let labels: Vec<u32> = (0..200).map(|i| i % 2).collect();
        let (even, odd): (Vec<_>, Vec<_>) =
            budget(0.2, 0).positions(&labels, 2).into_iter().partition(|position| position % 2 == 0);
        let halved = |positions: Vec<usize>| positions.into_iter().map(|p| p / 2).collect::<Vec<_>>();
        assert_ne!(halved(even), halved(odd));
    }

    /// Golden values: stored results depend on which images are kept.
    #[test]
    fn the_same_seed_keeps_the_same_images_on_every_machine() {
        let labels: Vec<u32> = (0..24).map(|i| i % 3).collect();
        assert_eq!(budget(0.4, 7).positions(&labels, 3), [3, 4, 5, 6, 7, 8, 9, 22, 23]);
    }

    proptest! {
        #[test]
        fn what_is_kept_is_stratified_to_the_nearest_image(
            labels in prop::collection::vec(0..4_u32, 1..120), fraction in 0.001..1.0_f64, seed: u64,
        ) {
            let kept = budget(fraction, seed).positions(&labels, 4);
            for class in 0..4 {
                let all = labels.iter().filter(|&&label| label == class).count();
                let some = kept.iter().filter(|&&position| labels[position] == class).count();
                let wanted = fraction * all as f64;
                prop_assert!((some as f64 - wanted).abs() <= 0.5 || some == 1 && wanted < 1.0, "{some} of {all}");
                prop_assert!(some <= all && (some > 0 || all == 0));
            }
        }

        #[test]
        fn a_smaller_budget_is_a_subset_of_a_larger_one(
            labels in prop::collection::vec(0..4_u32, 1..120), a in 0.001..=1.0_f64, b in 0.001..=1.0_f64, seed: u64,
        ) {
            let [small, large] = [a.min(b), a.max(b)].map(|f| budget(f, seed).positions(&labels, 4));
            prop_assert!(small.iter().all(|position| large.contains(position)));
            prop_assert_eq!(budget(1.0, seed).positions(&labels, 4).len(), labels.len());
        }

        /// The choice of images in a class depends on that class alone.
        #[test]
        fn other_classes_change_nothing(labels in prop::collection::vec(0..4_u32, 1..120), seed: u64) {
            let merged: Vec<u32> = labels.iter().map(|&label| if label == 0 { 0 } else { 1 }).collect();
            let of_first = |labels: &[u32]| {
                let kept = budget(0.3, seed).positions(labels, 4).into_iter();
                kept.filter(|&position| labels[position] == 0).collect::<Vec<_>>()
            };
            prop_assert_eq!(of_first(&labels), of_first(&merged));
        }
    }
}
