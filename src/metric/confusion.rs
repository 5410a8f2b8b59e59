//! Counts of labels against predicted classes.

/// A confusion matrix: how many images of class `label` were predicted as class `predicted`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// `[label, predicted]`, row by row.
    counts: Vec<usize>,
    /// Images of each class.
    support: Vec<usize>,
    /// Images predicted as each class.
    predicted: Vec<usize>,
}

impl Confusion {
    /// Counts images: their label, the class predicted, and how often they count.
    pub(super) fn new(classes: usize, images: impl Iterator<Item = (usize, usize, usize)>) -> Self {
        let mut counts = vec![0; classes * classes];
        for (label, predicted, count) in images {
            counts[label * classes + predicted] += count;
        }
        let of_label = |row: &[usize]| row.iter().sum();
        let of_prediction = |class: usize| counts.iter().skip(class).step_by(classes).sum();
        Self {
            classes,
            support: counts.chunks_exact(classes).map(of_label).collect(),
            predicted: (0..classes).map(of_prediction).collect(),
            counts,
        }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Images of class `label` that were predicted as class `predicted`.
    pub fn count(&self, label: usize, predicted: usize) -> usize {
        self.counts[label * self.classes + predicted]
    }

    /// Images of the class that were predicted right.
    pub fn hits(&self, class: usize) -> usize {
        self.count(class, class)
    }

    /// Images of the class.
    pub fn support(&self, class: usize) -> usize {
        self.support[class]
    }

    /// Images predicted as the class.
    pub fn predicted(&self, class: usize) -> usize {
        self.predicted[class]
    }

    /// Images in all.
    pub fn total(&self) -> usize {
        self.support.iter().sum()
    }

    /// Images that were predicted right.
    pub fn correct(&self) -> usize {
        (0..self.classes).map(|class| self.hits(class)).sum()
    }

    /// Whether every class has an image.
    pub fn every_class_is_present(&self) -> bool {
        self.support.iter().all(|&images| images > 0)
    }

    /// One row of counts for each label.
    pub fn rows(&self) -> impl Iterator<Item = &[usize]> {
        self.counts.chunks_exact(self.classes)
    }
}
