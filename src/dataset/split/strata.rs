//! Groups of images by class, in random order, so that a share of each class can be taken in whole groups. All images of
//! a multi-label data set are of one class here.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::slice::Iter;

use rand::seq::SliceRandom;
use rng::{Purpose, rng};

use crate::image_files::Listed;

/// Groups of images by class. A group is the positions of its images; its class is the most frequent one in it.
pub(super) struct Strata(Vec<Vec<Vec<usize>>>);

/// The images at `positions`, by class and group, groups in an order that depends on the seed alone. An image without a
/// group is a group of its own.
pub(super) fn by_class(images: &[Listed], positions: &[usize], seed: u64) -> Strata {
    let mut strata: BTreeMap<&str, Vec<Vec<usize>>> = BTreeMap::new();
    for group in groups(images, positions) {
        strata.entry(most_frequent(images, &group)).or_default().push(group);
    }
    let shuffled = strata.into_values().enumerate().map(|(class, mut groups)| {
        groups.shuffle(&mut rng(seed, Purpose::Split, 0, class as u64));
        groups
    });
    Strata(shuffled.collect())
}

/// Positions by group, in the order of each group's first image.
fn groups(images: &[Listed], positions: &[usize]) -> Vec<Vec<usize>> {
    let mut index_of: BTreeMap<&str, usize> = BTreeMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for &position in positions {
        let next = groups.len();
        let index = match &images[position].group {
            Some(group) => *index_of.entry(group).or_insert(next),
            None => next,
        };
        if index == next {
            groups.push(Vec::new());
        }
        groups[index].push(position);
    }
    groups
}

/// The most frequent label; of several, the smallest.
fn most_frequent<'i>(images: &'i [Listed], group: &[usize]) -> &'i str {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    group.iter().for_each(|&position| *counts.entry(images[position].label.stratum()).or_default() += 1);
    let mut most = ("", 0);
    for (label, count) in counts {
        if count > most.1 {
            most = (label, count);
        }
    }
    most.0
}

impl Strata {
    /// Takes a fraction of each class for each of `fractions`, as near to it as whole groups allow; positions.
    pub(super) fn taken<const N: usize>(&self, fractions: &[f64; N]) -> [Vec<usize>; N] {
        let mut taken = [const { Vec::new() }; N];
        for groups in &self.0 {
            let images: usize = groups.iter().map(Vec::len).sum();
            let mut groups = groups.iter().peekable();
            for (fraction, taken) in fractions.iter().zip(&mut taken) {
                take(&mut groups, (fraction * images as f64).round(), taken);
            }
        }
        taken
    }

    /// Spreads each class over so many folds, each group into the smallest fold so far; the fold of each position.
    pub(super) fn folds(&self, folds: usize) -> Vec<(usize, usize)> {
        let mut fold_of = Vec::new();
        for (class, groups) in self.0.iter().enumerate() {
            let mut sizes = vec![0; folds];
            for group in groups {
                // Classes start with different folds, so that small ones do not all end in the first.
                let smallest = (0..folds).map(|fold| (fold + class) % folds).min_by_key(|&fold| sizes[fold]);
                let fold = smallest.unwrap_or(0);
                sizes[fold] += group.len();
                fold_of.extend(group.iter().map(|&position| (position, fold)));
            }
        }
        fold_of
    }
}

/// Takes groups as long as each brings the number of images nearer to the wanted one.
fn take<'g>(groups: &mut Peekable<Iter<'g, Vec<usize>>>, wanted: f64, taken: &mut Vec<usize>) {
    let mut count = 0.0;
    let is_nearer = |count: f64, group: &&Vec<usize>| count + group.len() as f64 / 2.0 <= wanted;
    while let Some(group) = groups.next_if(|group| is_nearer(count, group)) {
        count += group.len() as f64;
        taken.extend(group);
    }
}
