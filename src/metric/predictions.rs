//! Labels and probabilities of a set of images, and the quantities that several metrics derive from them.

use std::sync::{Arc, OnceLock};

use super::ranking::{Order, Ranking};
use super::{Confusion, MetricError};

/// Tolerance for the sum of a row, for a softmax in f32 or half precision.
const SUM_SLACK: f64 = 1e-2;

/// Validated predictions for `n` images with one class each.
#[derive(Debug)]
pub struct Predictions {
    images: Arc<Images>,
    /// Multiplicity of each image; `None` if all are 1.
    counts: Option<Arc<[u32]>>,
    confusion: OnceLock<Confusion>,
    rankings: OnceLock<Vec<Ranking>>,
}

/// The part that does not depend on multiplicities.
#[derive(Debug)]
struct Images {
    classes: usize,
    labels: Vec<usize>,
    predicted: Vec<usize>,
    /// `[n, classes]`, row-major.
    probabilities: Vec<f64>,
    orders: OnceLock<Vec<Order>>,
}

/// One image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Image<'a> {
    /// Its class.
    pub label: usize,
    /// The most probable class; the first one in case of a tie.
    pub predicted: usize,
    /// Probability of each class.
    pub probabilities: &'a [f64],
    /// Multiplicity.
    pub count: usize,
}

impl Predictions {
    /// Validates predictions: `labels` has one label per image, `rows` the `classes` probabilities of each image.
    ///
    /// # Errors
    /// If the lengths differ, a label is not below `classes`, or a row is not a distribution.
    pub fn new<P: Copy + Into<f64>>(
        labels: &[u32],
        rows: &[Vec<P>],
        classes: usize,
    ) -> Result<Self, MetricError> {
        let labels = checked_labels(labels, rows.len(), classes)?;
        let probabilities = checked_rows(rows, classes)?;
        let predicted = probabilities.chunks_exact(classes).map(argmax).collect();
        let orders = OnceLock::new();
        Ok(Self::from_images(Arc::new(Images { classes, labels, predicted, probabilities, orders }), None))
    }

    fn from_images(images: Arc<Images>, counts: Option<Arc<[u32]>>) -> Self {
        Self { images, counts, confusion: OnceLock::new(), rankings: OnceLock::new() }
    }

    /// A bootstrap resample: the same predictions with image `i` counted `counts[i]` times. Not all counts may be 0.
    pub fn resampled(&self, counts: Arc<[u32]>) -> Self {
        assert_eq!(counts.len(), self.images.labels.len(), "one count per image");
        Self::from_images(self.images.clone(), Some(counts))
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.images.classes
    }

    /// Number of images, counted with multiplicity.
    pub fn total(&self) -> usize {
        match &self.counts {
            None => self.images.labels.len(),
            Some(counts) => counts.iter().map(|&count| count as usize).sum(),
        }
    }

    /// All images, including those with multiplicity 0.
    pub fn images(&self) -> impl Iterator<Item = Image<'_>> {
        let Images { classes, labels, predicted, probabilities, .. } = &*self.images;
        let rows = probabilities.chunks_exact(*classes);
        labels.iter().zip(predicted).zip(rows).enumerate().map(|(i, ((&label, &predicted), row))| Image {
            label,
            predicted,
            probabilities: row,
            count: self.count(i),
        })
    }

    fn count(&self, image: usize) -> usize {
        self.counts.as_ref().map_or(1, |counts| counts[image] as usize)
    }

    /// The confusion matrix.
    pub fn confusion(&self) -> &Confusion {
        let Images { classes, labels, predicted, .. } = &*self.images;
        let pairs = labels.iter().zip(predicted);
        self.confusion.get_or_init(|| match &self.counts {
            None => Confusion::new(*classes, pairs.map(|(&label, &predicted)| (label, predicted, 1))),
            Some(counts) => {
                let counted = |((&label, &predicted), &count): (_, &u32)| (label, predicted, count as usize);
                Confusion::new(*classes, pairs.zip(counts.iter()).map(counted))
            }
        })
    }

    /// For each class, the images ranked by its probability: that class against the rest.
    pub fn rankings(&self) -> &[Ranking] {
        let labels = &self.images.labels;
        let of_class = |(class, order): (usize, &Order)| {
            order.ranking(|image| labels[image] == class, |image| self.count(image))
        };
        self.rankings.get_or_init(|| self.images.orders().iter().enumerate().map(of_class).collect())
    }
}

impl Images {
    /// For each class, the images by descending probability.
    fn orders(&self) -> &[Order] {
        let probability = |class| self.probabilities.iter().skip(class).step_by(self.classes).copied();
        let order = |class| Order::new(&probability(class).collect::<Vec<f64>>());
        self.orders.get_or_init(|| (0..self.classes).map(order).collect())
    }
}

fn checked_labels(labels: &[u32], rows: usize, classes: usize) -> Result<Vec<usize>, MetricError> {
    if labels.len() != rows {
        return Err(MetricError::Lengths { labels: labels.len(), rows });
    }
    if labels.is_empty() || classes == 0 {
        return Err(MetricError::Nothing);
    }
    let check = |(image, &label): (usize, &u32)| match label as usize {
        class if class < classes => Ok(class),
        _ => Err(MetricError::Label { image, label, classes }),
    };
    labels.iter().enumerate().map(check).collect()
}

fn checked_rows<P: Copy + Into<f64>>(rows: &[Vec<P>], classes: usize) -> Result<Vec<f64>, MetricError> {
    let flat = checked_probabilities(rows, classes)?;
    for (image, row) in flat.chunks_exact(classes).enumerate() {
        let sum: f64 = row.iter().sum();
        if (sum - 1.0).abs() > SUM_SLACK {
            return Err(MetricError::Sum { image, sum });
        }
    }
    Ok(flat)
}

/// Concatenates the rows; every row must have length `classes` and every value lie in [0, 1].
pub(super) fn checked_probabilities<P: Copy + Into<f64>>(
    rows: &[Vec<P>],
    classes: usize,
) -> Result<Vec<f64>, MetricError> {
    let mut flat = Vec::with_capacity(rows.len() * classes);
    for (image, row) in rows.iter().enumerate() {
        if row.len() != classes {
            return Err(MetricError::RowLength { image, found: row.len(), classes });
        }
        for (class, &value) in row.iter().enumerate() {
            flat.push(checked(image, class, value.into())?);
        }
    }
    Ok(flat)
}

fn checked(image: usize, class: usize, value: f64) -> Result<f64, MetricError> {
    if !value.is_finite() {
        return Err(MetricError::NotFinite { image, class, value });
    }
    if !(0.0..=1.0 + SUM_SLACK).contains(&value) {
        return Err(MetricError::OutOfRange { image, class, value });
    }
    Ok(value)
}

/// Position of the largest value; the first one in case of a tie, like numpy.
fn argmax(row: &[f64]) -> usize {
    (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(labels: &[u32], rows: &[Vec<f32>], classes: usize) -> String {
        Predictions::new(labels, rows, classes).unwrap_err().to_string()
    }

    #[test]
    fn the_first_of_equal_probabilities_is_predicted() {
        let rows = [vec![0.25, 0.375, 0.375], vec![0.5, 0.0, 0.5]];
        let predictions = Predictions::new(&[0, 0], &rows, 3).unwrap();
        assert_eq!(predictions.images().map(|image| image.predicted).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn nan_is_an_error_that_says_where_and_what_to_do() {
        let message = error(&[0, 1], &[vec![0.5, 0.5], vec![0.5, f32::NAN]], 2);
        assert!(message.contains("image 1 has NaN as its probability of class 1"), "{message}");
        assert!(message.contains("learning rate"), "{message}");
    }

    #[test]
    fn logits_are_told_from_probabilities() {
        assert!(error(&[0], &[vec![3.0, -1.0]], 2).contains("not logits"));
        assert!(error(&[0], &[vec![0.2, 0.3]], 2).contains("sum to 0.5"));
    }

    #[test]
    fn shapes_and_labels_are_checked() {
        assert!(error(&[], &[], 2).contains("no images"));
        assert!(error(&[0], &[], 2).contains("1 labels but 0 rows"));
        assert!(error(&[0], &[vec![1.0]], 2).contains("image 0 has 1 probabilities for 2 classes"));
        assert!(error(&[2], &[vec![1.0, 0.0]], 2).contains("label 2, but the classes are 0 to 1"));
        assert!(error(&[0], &[vec![]], 0).contains("without classes"));
    }
}
