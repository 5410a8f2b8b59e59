//! Which images of a split are kept.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rng::{Purpose, rng};

use crate::{Labels, MultiLabelSummary, Pixels, Split, SplitName, State, Summary};

/// What is kept of a split.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    /// Fraction of each class, below 1.
    pub(super) fraction: f64,
    pub(super) seed: u64,
    pub(super) split: SplitName,
}

impl Draw {
    /// Number of images kept of a class with `images` images: rounded to the nearest integer (half up), and at least
    /// one.
    pub(super) fn kept(&self, images: usize) -> usize {
        ((self.fraction * images as f64).round() as usize).max(1).min(images)
    }

    /// Leaves the training images that are kept.
    pub(super) fn of_training(&self, summary: &mut Summary) {
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
    pub(super) fn of_split(&self, split: &Split, classes: usize) -> Split {
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
    pub(super) fn positions_of_groups(&self, groups: &[u32], labels: &[u32], classes: usize) -> Vec<usize> {
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
    pub(super) fn positions(&self, labels: &[u32], classes: usize) -> Vec<usize> {
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

/// Positions of the images of each group.
pub(super) fn members(groups: &[u32]) -> Vec<Vec<usize>> {
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
