//! Counts of one class against the rest.

use super::Confusion;

/// Counts of one class, or summed over classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Images of the class that are predicted as such.
    pub hits: usize,
    /// Images with a known label that are predicted to have the class.
    pub predicted: usize,
    /// Images of the class.
    pub support: usize,
    /// Images with a known label.
    pub known: usize,
}

impl Tally {
    /// The sum of two.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            hits: self.hits + other.hits,
            predicted: self.predicted + other.predicted,
            support: self.support + other.support,
            known: self.known + other.known,
        }
    }

    pub(super) fn of_class(confusion: &Confusion, class: usize) -> Self {
        Self {
            hits: confusion.hits(class),
            predicted: confusion.predicted(class),
            support: confusion.support(class),
            known: confusion.total(),
        }
    }

    /// Adds an image, so many times.
    pub(super) fn add(&mut self, present: bool, predicted: bool, count: usize) {
        let times = |counts: bool| if counts { count } else { 0 };
        self.hits += times(present && predicted);
        self.predicted += times(predicted);
        self.support += times(present);
        self.known += count;
    }
}
