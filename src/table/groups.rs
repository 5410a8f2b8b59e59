//! Predictions with an identifier of their images, and of the groups of these.

use std::collections::HashMap;
use std::sync::Arc;

use metric::{Labels, Predictions};
use rng::name_index;
use statistics::bootstrap;

/// Predictions with what is resampled together: images, or groups of them.
#[derive(Debug, PartialEq)]
pub struct Predicted {
    /// A hash of the names and labels of the images, in order.
    images: u64,
    groups: Option<Groups>,
    pub(super) predictions: Predictions,
}

/// Groups of images, such as those of one patient.
#[derive(Debug, PartialEq)]
struct Groups {
    /// The group of each image, groups in the order of their first image.
    of_images: Vec<usize>,
    count: usize,
    /// A hash of the images and their groups.
    name: u64,
}

/// What resamples draw from: a hash that names it, the number of images, and the number of units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Units {
    name: u64,
    images: usize,
    pub(super) count: usize,
}

impl Predicted {
    /// Predictions of images with these names and labels, in order.
    pub fn new(names: &[String], labels: &Labels, predictions: Predictions) -> Self {
        let images: Vec<String> =
            names.iter().zip(labels.texts()).map(|(name, label)| format!("{label} {name}")).collect();
        Self { images: name_index(&images.join("\n")), groups: None, predictions }
    }

    /// The same with the group of each image, in order; images without one are groups of their own.
    pub fn in_groups(self, groups: &[Option<String>]) -> Self {
        Self { groups: Groups::new(self.images, groups), ..self }
    }

    /// Number of groups, if they are known and some have several images.
    pub(super) fn groups(&self) -> Option<usize> {
        self.groups.as_ref().map(|groups| groups.count)
    }

    /// What is drawn: images, or groups if they are known and wanted.
    pub(super) fn units(&self, by_group: bool) -> Units {
        let images = self.predictions.total();
        match self.groups.as_ref().filter(|_| by_group) {
            Some(groups) => Units { name: groups.name, images, count: groups.count },
            None => Units { name: self.images, images, count: images },
        }
    }

    /// How often each image comes in a resample of the units.
    pub(super) fn counts(&self, units: Units, resample: usize) -> Arc<[u32]> {
        let drawn = bootstrap::draw(units.count, resample, units.name);
        let counts = bootstrap::counts(units.count, &drawn);
        match self.groups.as_ref().filter(|groups| groups.name == units.name) {
            Some(groups) => groups.of_images.iter().map(|&group| counts[group]).collect(),
            None => counts.into(),
        }
    }
}

impl Groups {
    /// `None` if every image is a group of its own.
    fn new(images: u64, groups: &[Option<String>]) -> Option<Self> {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let (mut of_images, mut count) = (Vec::with_capacity(groups.len()), 0);
        for group in groups {
            let number = group.as_deref().map_or(count, |group| *numbers.entry(group).or_insert(count));
            count = count.max(number + 1);
            of_images.push(number);
        }
        let text: Vec<String> = of_images.iter().map(ToString::to_string).collect();
        let name = name_index(&format!("{images} {}", text.join(" ")));
        (count < groups.len()).then_some(Self { of_images, count, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predicted() -> Predicted {
        let names: Vec<String> = (0..5).map(|image| format!("{image}.png")).collect();
        let rows = vec![vec![0.5, 0.5]; 5];
        let labels = vec![0, 1, 0, 1, 0];
        let predictions = Predictions::new(&labels, &rows, 2).unwrap();
        Predicted::new(&names, &labels.into(), predictions)
    }

    fn grouped(groups: [&str; 5]) -> Predicted {
        predicted().in_groups(&groups.map(|group| (!group.is_empty()).then(|| group.to_owned())))
    }

    #[test]
    fn images_of_a_group_come_equally_often_and_groups_as_often_as_there_are_groups() {
        let predicted = grouped(["p", "", "p", "q", "q"]);
        let units = predicted.units(true);
        assert_eq!((predicted.groups(), units.count), (Some(3), 3));
        for resample in 0..50 {
            let counts = predicted.counts(units, resample);
            assert_eq!((counts[0], counts[3]), (counts[2], counts[4]));
            assert_eq!(counts[0] + counts[1] + counts[3], 3);
        }
    }

    #[test]
    fn without_groups_of_several_images_and_by_wish_images_are_drawn() {
        let (none, alone) = (predicted(), grouped(["p", "q", "", "r", "s"]));
        let grouped = grouped(["p", "", "p", "q", "q"]);
        let images = none.units(true);
        assert_eq!((alone.groups(), images.count), (None, 5));
        assert_eq!((alone.units(true), grouped.units(false)), (images, images));
        assert_ne!(grouped.units(true), images);
        for resample in 0..5 {
            let of = |predicted: &Predicted| predicted.counts(images, resample);
            assert_eq!((of(&alone), of(&grouped)), (of(&none), of(&none)));
            assert_eq!(of(&none).iter().sum::<u32>(), 5);
        }
    }
}
