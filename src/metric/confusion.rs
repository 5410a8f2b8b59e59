//! Confusion matrices.

/// A confusion matrix: number of images by label and predicted class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// `[label, predicted]`, row-major.
    counts: Vec<usize>,
    /// Number of images of each class.
    support: Vec<usize>,
    /// Number of images predicted as each class.
    predicted: Vec<usize>,
}

impl Confusion {
    /// Counts images, given as (label, predicted class, multiplicity).
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

    /// Number of images of class `label` predicted as class `predicted`.
    pub fn count(&self, label: usize, predicted: usize) -> usize {
        self.counts[label * self.classes + predicted]
    }

    /// Number of images of the class predicted correctly.
    pub fn hits(&self, class: usize) -> usize {
        self.count(class, class)
    }

    /// Number of images of the class.
    pub fn support(&self, class: usize) -> usize {
        self.support[class]
    }

    /// Number of images predicted as the class.
    pub fn predicted(&self, class: usize) -> usize {
        self.predicted[class]
    }

    /// Total number of images.
    pub fn total(&self) -> usize {
        self.support.iter().sum()
    }

    /// Number of images predicted correctly.
    pub fn correct(&self) -> usize {
        (0..self.classes).map(|class| self.hits(class)).sum()
    }

    /// Whether every class has at least one image.
    pub fn every_class_is_present(&self) -> bool {
        self.support.iter().all(|&images| images > 0)
    }

    /// The counts, one row per label.
    pub fn rows(&self) -> impl Iterator<Item = &[usize]> {
        self.counts.chunks_exact(self.classes)
    }
}
