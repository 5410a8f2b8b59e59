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

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::{
    DataError, Dataset, DatasetSpec, Labels, MultiLabelSummary, Pixels, Split, SplitName, State, Summary,
};
use rng::{Purpose, rng};

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

/// What is kept of a split.
#[derive(Clone, Copy, Debug)]
struct Draw {
    /// Fraction of each class, below 1.
    fraction: f64,
    seed: u64,
    split: SplitName,
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

impl Draw {
    /// Number of images kept of a class with `images` images: rounded to the nearest integer (half up), and at least
    /// one.
    fn kept(&self, images: usize) -> usize {
        ((self.fraction * images as f64).round() as usize).max(1).min(images)
    }

    /// Leaves the training images that are kept.
    fn of_training(&self, summary: &mut Summary) {
        let groups = summary.train_groups.as_deref();
        let counts = &mut summary.counts[SplitName::Train as usize];
        if let Some(multi) = &mut summary.multi_label {
            multi.keep(&self.kept_of_one_class(multi.train.len(), groups));
            *counts = multi.train.count(State::Present);
        } else if let Some(groups) = groups {
            let labels = |group: &Vec<(u32, u32)>| group.iter().map(|&(_, label)| label).collect();
            let labels: Vec<Vec<u32>> = groups.iter().map(labels).collect();
            let kept = self.kept_groups(&labels, counts.len());
            counts.fill(0);
            let kept = kept.into_iter().flat_map(|group| &labels[group]);
            kept.for_each(|&label| counts[label as usize] += 1);
        } else {
            counts.iter_mut().for_each(|count| *count = self.kept(*count));
        }
    }

    /// The images of a split that are kept.
    fn of_split(&self, split: &Split, classes: usize) -> Split {
        let (labels, classes) = match &split.labels {
            Labels::Single(labels) => (labels.as_slice(), classes),
            Labels::Multi(labels) => (&*vec![0; labels.len()], 1),
        };
        let groups = split.groups.as_ref().filter(|_| self.split == SplitName::Train);
        let positions = match groups {
            Some(groups) => self.positions_of_groups(groups, labels, classes),
            None => self.positions(labels, classes),
        };
        part(split, &positions)
    }

    /// Positions of the kept ones of `n` images of one class, given the positions in each group if there are groups.
    fn kept_of_one_class(&self, n: usize, groups: Option<&[Vec<(u32, u32)>]>) -> Vec<usize> {
        let Some(groups) = groups else { return self.positions(&vec![0; n], 1) };
        let labels: Vec<Vec<u32>> = groups.iter().map(|group| vec![0; group.len()]).collect();
        let kept = self.kept_groups(&labels, 1).into_iter();
        let mut positions: Vec<usize> =
            kept.flat_map(|group| groups[group].iter().map(|&(position, _)| position as usize)).collect();
        positions.sort_unstable();
        positions
    }

    /// The same with groups, given the group of each image.
    fn positions_of_groups(&self, groups: &[u32], labels: &[u32], classes: usize) -> Vec<usize> {
        let members = members(groups);
        let labels: Vec<Vec<u32>> = members
            .iter()
            .map(|members| members.iter().map(|&position| labels[position]).collect())
            .collect();
        let kept = self.kept_groups(&labels, classes).into_iter();
        let mut positions: Vec<usize> = kept.flat_map(|group| members[group].iter().copied()).collect();
        positions.sort_unstable();
        positions
    }

    /// The groups that are kept, given the labels in each.
    fn kept_groups(&self, groups: &[Vec<u32>], classes: usize) -> Vec<usize> {
        let mut of_class = vec![Vec::new(); classes];
        groups.iter().enumerate().for_each(|(group, labels)| of_class[most_frequent(labels)].push(group));
        let mut kept = Vec::new();
        for (class, mut of_class) in of_class.into_iter().enumerate() {
            of_class.shuffle(&mut rng(self.seed, Purpose::LabelBudget, self.split as u64, class as u64));
            let images = of_class.iter().map(|&group| groups[group].len()).sum();
            let (wanted, mut count) = (self.kept(images), 0);
            let is_nearer = |group: &usize| {
                let is_kept = count == 0 || 2 * count + groups[*group].len() <= 2 * wanted;
                count += groups[*group].len();
                is_kept
            };
            kept.extend(of_class.into_iter().take_while(is_nearer));
        }
        kept
    }

    /// Positions of the images that are kept, given their labels, in their original order.
    fn positions(&self, labels: &[u32], classes: usize) -> Vec<usize> {
        let mut of_class = vec![Vec::new(); classes];
        labels.iter().enumerate().for_each(|(position, &label)| of_class[label as usize].push(position));
        let mut kept = Vec::new();
        for (class, mut images) in of_class.into_iter().enumerate() {
            images.shuffle(&mut rng(self.seed, Purpose::LabelBudget, self.split as u64, class as u64));
            kept.extend_from_slice(&images[..self.kept(images.len())]);
        }
        kept.sort_unstable();
        kept
    }
}

impl MultiLabelSummary {
    /// Keeps the training images at these positions.
    fn keep(&mut self, positions: &[usize]) {
        let train = SplitName::Train as usize;
        self.train = self.train.at(positions);
        self.images[train] = self.train.len();
        self.unknown[train] = self.train.count(State::Unknown);
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

/// Positions of the images of each group.
fn members(groups: &[u32]) -> Vec<Vec<usize>> {
    let count = groups.iter().max().map_or(0, |&last| last as usize + 1);
    let mut members = vec![Vec::new(); count];
    groups.iter().enumerate().for_each(|(position, &group)| members[group as usize].push(position));
    members
}

/// The most frequent label; the smallest of several.
fn most_frequent(labels: &[u32]) -> usize {
    let mut counts = BTreeMap::new();
    labels.iter().for_each(|&label| *counts.entry(label).or_insert(0) += 1);
    let most = counts.into_iter().max_by_key(|&(label, count)| (count, std::cmp::Reverse(label)));
    most.map_or(0, |(label, _)| label as usize)
}

/// The images at the given positions of a split.
fn part(split: &Split, positions: &[usize]) -> Split {
    let image_bytes = split.image_bytes();
    let images: Vec<&[u8]> =
        positions.iter().map(|position| &split.pixels[position * image_bytes..][..image_bytes]).collect();
    Split {
        pixels: Pixels::Owned(images.concat().into()),
        labels: split.labels.at(positions),
        names: positions.iter().map(|&position| split.names[position].clone()).collect(),
        groups: split.groups.as_ref().map(|of| positions.iter().map(|&position| of[position]).collect()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::DatasetKind;
    use crate::phantom::{Family, PhantomSpec};

    fn budget(label_fraction: f64, label_seed: u64) -> LabelBudget {
        LabelBudget { label_fraction, label_seed, ..LabelBudget::default() }
    }

    fn draw(fraction: f64, seed: u64) -> Draw {
        Draw { fraction, seed, split: SplitName::Train }
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
            assert_eq!(some.train.labels.present(i), whole.train.labels.present(position));
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
            let summary = budget.summary(whole.clone()).unwrap();
            let counted: Vec<usize> = (0..summary.classes.len() as u32)
                .map(|class| {
                    dataset.train.labels.single().unwrap().iter().filter(|&&label| label == class).count()
                })
                .collect();
            assert_eq!(summary.counts[0], counted);
            assert_eq!(summary.counts[1..], whole.counts[1..]);
            assert_eq!(summary.digest, whole.digest, "the content of the files is the same");
        }
    }

    #[test]
    fn a_count_is_the_fraction_that_it_is_and_validation_images_have_their_own() {
        let counts = |label_count, val_count| LabelBudget { label_count, val_count, ..budget(1.0, 2) };
        let (spec, whole) =
            (PhantomSpec { family: Family::Xray, size: 8, train: 40, val: 9, test: 7, seed: 1 }, phantom());
        let summary = spec.summary().unwrap();
        let names = |split: &Split| split.names.clone();
        let by_count = counts(Some(10), None).dataset(whole.clone());
        assert_eq!(names(&by_count.train), names(&budget(0.25, 2).dataset(whole.clone()).train));
        assert_eq!(names(&by_count.val), names(&whole.val));
        let both = counts(Some(10), Some(4)).dataset(whole.clone());
        assert_eq!(names(&both.train), names(&by_count.train));
        assert!((3..=5).contains(&both.val.len()), "{}", both.val.len());
        let smaller = counts(None, Some(2)).dataset(whole.clone());
        assert!(smaller.val.names.iter().all(|name| both.val.names.contains(name)), "nested");
        assert_eq!(smaller.train.len(), 40);
        let kept = counts(Some(10), Some(4)).summary(summary.clone()).unwrap();
        assert_eq!(
            (kept.images(SplitName::Train), kept.images(SplitName::Val)),
            (both.train.len(), both.val.len())
        );
        // As many as there are, or more, is no budget.
        let all = counts(Some(40), Some(100));
        assert_eq!(all.dataset(whole.clone()).train.len(), 40);
        assert_eq!(all.effective(&summary), LabelBudget { label_seed: 2, ..LabelBudget::default() });
        assert!(all.effective(&summary).is_whole() && !counts(Some(39), None).effective(&summary).is_whole());
    }

    #[test]
    fn what_contradicts_itself_or_cannot_be_counted_is_refused() {
        let problems = |budget: LabelBudget| {
            let mut problems = kind::Problems::default();
            kind::Kind::validate(&budget, &mut problems);
            problems.into_list().into_iter().map(|problem| problem.message).collect::<Vec<_>>()
        };
        let both = LabelBudget { label_count: Some(10), ..budget(0.5, 0) };
        assert!(problems(both)[0].contains("both say how many"));
        assert_eq!(problems(LabelBudget { val_count: Some(0), ..budget(1.0, 0) }).len(), 1);
        let budget = LabelBudget { val_count: Some(1), ..budget(1.0, 0) };
        let mut several = multi_label(false).0;
        several.multi_label.as_mut().unwrap().images[1] = 2;
        assert!(budget.summary(several).unwrap_err().contains("multi-label"));
    }

    #[test]
    fn groups_are_kept_whole_and_the_summary_knows() {
        // Groups of 1 to 3 images; some have two labels.
        let groups: Vec<u32> = (0..60).flat_map(|group| vec![group; group as usize % 3 + 1]).collect();
        let labels: Vec<u32> =
            groups.iter().enumerate().map(|(i, group)| if i % 7 == 0 { 2 } else { group % 3 }).collect();
        let of_groups = members(&groups);
        let by_group = of_groups.iter().map(|group| group.iter().map(|&i| (i as u32, labels[i])).collect());
        let counts = |kept: &[usize]| {
            let of = |class| kept.iter().filter(|&&position| labels[position] == class).count();
            (0..3).map(of).collect::<Vec<_>>()
        };
        let all: Vec<usize> = (0..labels.len()).collect();
        let whole = Summary {
            classes: ["a", "b", "c"].map(Into::into).into(),
            counts: [counts(&all), vec![1; 3], vec![1; 3]],
            multi_label: None,
            digest: String::new(),
            warnings: Vec::new(),
            caveats: Vec::new(),
            train_groups: Some(by_group.collect()),
        };
        let mut before = Vec::new();
        for fraction in [0.05, 0.3, 0.6, 0.95] {
            let budget = budget(fraction, 3);
            let kept = draw(fraction, 3).positions_of_groups(&groups, &labels, 3);
            let is_whole = |group: &Vec<usize>| {
                let count = group.iter().filter(|position| kept.contains(position)).count();
                count == 0 || count == group.len()
            };
            assert!(of_groups.iter().all(is_whole) && kept.is_sorted());
            assert!((kept.len() as f64 - fraction * labels.len() as f64).abs() <= 6.0, "{} kept", kept.len());
            assert!(before.iter().all(|position| kept.contains(position)), "budgets are nested");
            assert_eq!(budget.summary(whole.clone()).unwrap().counts[0], counts(&kept));
            before = kept;
        }
    }

    /// 40 images with three labels each, in groups of two if asked for.
    fn multi_label(is_grouped: bool) -> (Summary, Dataset) {
        let mut labels = crate::MultiLabels::new(3);
        let states = [State::Absent, State::Present, State::Unknown];
        (0..40).for_each(|i| labels.push(&[states[i % 2], states[i % 3], states[1]]));
        let labels = [labels.clone(), labels.at(&[0]), labels.at(&[1])].map(Labels::Multi);
        let classes = ["a", "b", "c"].map(String::from).to_vec();
        let names = labels.each_ref().map(|labels| (0..labels.len()).map(|i| i.to_string()).collect());
        let pixels = labels.each_ref().map(|labels| Pixels::Owned(vec![0; 3 * labels.len()].into()));
        let mut dataset = Dataset::new(classes.clone(), 1, labels.clone(), names, pixels);
        let mut summary = Summary::new(classes, labels, blake3::hash(b""));
        if is_grouped {
            dataset.train.groups = Some((0..40).map(|i| i / 2).collect());
            summary.train_groups = Some((0..20).map(|i| vec![(2 * i, 0), (2 * i + 1, 0)]).collect());
        }
        (summary, dataset)
    }

    #[test]
    fn multi_label_images_are_drawn_as_of_one_class_and_the_summary_knows() {
        for is_grouped in [false, true] {
            let (summary, dataset) = multi_label(is_grouped);
            let budget = budget(0.25, 3);
            let (kept, some) = (budget.summary(summary.clone()).unwrap(), budget.dataset(dataset));
            let Labels::Multi(labels) = &some.train.labels else { panic!("several labels") };
            assert_eq!(labels.len(), 10);
            let multi = kept.multi_label.as_ref().unwrap();
            assert_eq!((&multi.train, multi.images), (labels, [10, 1, 1]));
            assert_eq!(kept.counts[0], labels.count(State::Present));
            assert_eq!(multi.unknown[0], labels.count(State::Unknown));
            assert_eq!(kept.counts[1..], summary.counts[1..]);
            let positions: Vec<usize> = some.train.names.iter().map(|name| name.parse().unwrap()).collect();
            let is_whole = |position: &usize| positions.contains(&(position ^ 1));
            assert!(positions.is_sorted() && (!is_grouped || positions.iter().all(is_whole)));
        }
    }

    #[test]
    fn another_seed_keeps_other_images() {
        let labels = vec![0; 100];
        assert_ne!(draw(0.2, 0).positions(&labels, 1), draw(0.2, 1).positions(&labels, 1));
    }

    #[test]
    fn classes_do_not_share_an_order() {
        let labels: Vec<u32> = (0..200).map(|i| i % 2).collect();
        let (even, odd): (Vec<_>, Vec<_>) =
            draw(0.2, 0).positions(&labels, 2).into_iter().partition(|position| position % 2 == 0);
        let halved = |positions: Vec<usize>| positions.into_iter().map(|p| p / 2).collect::<Vec<_>>();
        assert_ne!(halved(even), halved(odd));
    }

    /// Golden values: stored results depend on which images are kept.
    #[test]
    fn the_same_seed_keeps_the_same_images_on_every_machine() {
        let labels: Vec<u32> = (0..24).map(|i| i % 3).collect();
        assert_eq!(draw(0.4, 7).positions(&labels, 3), [3, 4, 5, 6, 7, 8, 9, 22, 23]);
    }

    proptest! {
        #[test]
        fn what_is_kept_is_stratified_to_the_nearest_image(
            labels in prop::collection::vec(0..4_u32, 1..120), fraction in 0.001..1.0_f64, seed: u64,
        ) {
            let kept = draw(fraction, seed).positions(&labels, 4);
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
            let [small, large] = [a.min(b), a.max(b)].map(|f| draw(f, seed).positions(&labels, 4));
            prop_assert!(small.iter().all(|position| large.contains(position)));
            prop_assert_eq!(draw(1.0, seed).positions(&labels, 4).len(), labels.len());
        }

        /// The choice of images in a class depends on that class alone.
        #[test]
        fn other_classes_change_nothing(labels in prop::collection::vec(0..4_u32, 1..120), seed: u64) {
            let merged: Vec<u32> = labels.iter().map(|&label| if label == 0 { 0 } else { 1 }).collect();
            let of_first = |labels: &[u32]| {
                let kept = draw(0.3, seed).positions(labels, 4).into_iter();
                kept.filter(|&position| labels[position] == 0).collect::<Vec<_>>()
            };
            prop_assert_eq!(of_first(&labels), of_first(&merged));
        }
    }
}
