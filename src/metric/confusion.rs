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
    /// Counts the pairs; all values below `classes`.
    pub(super) fn new(labels: &[usize], predicted: &[usize], classes: usize) -> Self {
        let zeros = || vec![0; classes];
        let mut confusion =
            Self { classes, counts: vec![0; classes * classes], support: zeros(), predicted: zeros() };
        for (&label, &prediction) in labels.iter().zip(predicted) {
            confusion.counts[label * classes + prediction] += 1;
            confusion.support[label] += 1;
            confusion.predicted[prediction] += 1;
        }
        confusion
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
