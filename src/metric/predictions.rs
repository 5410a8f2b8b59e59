//! Labels and probabilities of a set of images, and the quantities that several metrics derive from them.

use std::sync::{Arc, OnceLock};

use super::ranking::{Order, Ranking};
use super::{Confusion, Labeling, Labels, MetricError, MultiLabels, State, Tally};

/// Tolerance for the sum of a row, for a softmax in f32 or half precision.
const SUM_SLACK: f64 = 1e-2;

/// A class of a multi-label data set is predicted if its probability is at least this.
const THRESHOLD: f64 = 0.5;

/// Whether a class of a multi-label data set is predicted at this probability.
pub fn is_predicted(probability: f64) -> bool {
    probability >= THRESHOLD
}

/// Validated predictions for `n` images.
#[derive(Debug)]
pub struct Predictions {
    images: Arc<Images>,
    /// Multiplicity of each image; `None` if all are 1.
    counts: Option<Arc<[u32]>>,
    confusion: OnceLock<Confusion>,
    tallies: OnceLock<Vec<Tally>>,
    rankings: OnceLock<Vec<Ranking>>,
}

/// The part that does not depend on multiplicities.
#[derive(Debug)]
struct Images {
    classes: usize,
    truth: Truth,
    /// `[n, classes]`, row-major.
    probabilities: Vec<f64>,
    orders: OnceLock<Vec<Order>>,
}

/// Labels; for images with one class each, with the most probable class.
#[derive(Debug, PartialEq)]
enum Truth {
    Single { labels: Vec<usize>, predicted: Vec<usize> },
    Multi(MultiLabels),
}

/// One image of a multi-label data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MultiLabelImage<'a> {
    /// What is known of each class.
    pub states: &'a [State],
    /// Probability of each class.
    pub probabilities: &'a [f64],
    /// Multiplicity.
    pub count: usize,
}

impl<'a> MultiLabelImage<'a> {
    /// Whether the image has a class and its probability, for each class of which that is known.
    pub fn known(self) -> impl Iterator<Item = (bool, f64)> + use<'a> {
        let pairs = self.states.iter().zip(self.probabilities);
        pairs.filter_map(|(state, &p)| Some((state.known()?, p)))
    }
}

/// One image with one class.
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
        Ok(Self::of_truth(classes, Truth::Single { labels, predicted }, probabilities))
    }

    /// Validates predictions of images that have one class or any number of classes.
    ///
    /// # Errors
    /// As [`Predictions::new`]; probabilities of a multi-label data set need not sum to 1.
    pub fn of<P: Copy + Into<f64>>(
        labels: &Labels,
        rows: &[Vec<P>],
        classes: usize,
    ) -> Result<Self, MetricError> {
        let labels = match labels {
            Labels::Single(labels) => return Self::new(labels, rows, classes),
            Labels::Multi(labels) => labels,
        };
        match (labels.len(), labels.classes()) {
            (0, _) => Err(MetricError::Nothing),
            (images, _) if images != rows.len() => {
                Err(MetricError::Lengths { labels: images, rows: rows.len() })
            }
            (_, of_labels) if of_labels != classes => {
                Err(MetricError::Classes { labels: of_labels, classes })
            }
            _ => {
                let probabilities = checked_probabilities(rows, classes)?;
                Ok(Self::of_truth(classes, Truth::Multi(labels.clone()), probabilities))
            }
        }
    }

    fn of_truth(classes: usize, truth: Truth, probabilities: Vec<f64>) -> Self {
        Self::from_images(Arc::new(Images { classes, truth, probabilities, orders: OnceLock::new() }), None)
    }

    fn from_images(images: Arc<Images>, counts: Option<Arc<[u32]>>) -> Self {
        let (confusion, tallies, rankings) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { images, counts, confusion, tallies, rankings }
    }

    /// How the images are labeled.
    pub fn labeling(&self) -> Labeling {
        match self.images.truth {
            Truth::Single { .. } => Labeling::SingleLabel,
            Truth::Multi(_) => Labeling::MultiLabel,
        }
    }

    /// A bootstrap resample: the same predictions with image `i` counted `counts[i]` times. Not all counts may be 0.
    pub fn resampled(&self, counts: Arc<[u32]>) -> Self {
        assert_eq!(counts.len(), self.images.len(), "one count per image");
        Self::from_images(self.images.clone(), Some(counts))
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.images.classes
    }

    /// Number of images, counted with multiplicity.
    pub fn total(&self) -> usize {
        match &self.counts {
            None => self.images.len(),
            Some(counts) => counts.iter().map(|&count| count as usize).sum(),
        }
    }

    /// All images, including those with multiplicity 0; `None` for a multi-label data set.
    pub fn images(&self) -> Option<impl Iterator<Item = Image<'_>>> {
        let Truth::Single { labels, predicted } = &self.images.truth else { return None };
        let pairs = labels.iter().zip(predicted).zip(self.images.rows()).enumerate();
        Some(pairs.map(|(i, ((&label, &predicted), probabilities))| Image {
            label,
            predicted,
            probabilities,
            count: self.count(i),
        }))
    }

    /// The same of a multi-label data set; `None` if images have one class each.
    pub fn multi_label_images(&self) -> Option<impl Iterator<Item = MultiLabelImage<'_>>> {
        let Truth::Multi(labels) = &self.images.truth else { return None };
        let pairs = labels.rows().zip(self.images.rows()).enumerate();
        Some(pairs.map(|(i, (states, probabilities))| MultiLabelImage {
            states,
            probabilities,
            count: self.count(i),
        }))
    }

    fn count(&self, image: usize) -> usize {
        self.counts.as_ref().map_or(1, |counts| counts[image] as usize)
    }

    /// The confusion matrix; `None` for a multi-label data set.
    pub fn confusion(&self) -> Option<&Confusion> {
        let Truth::Single { labels, predicted } = &self.images.truth else { return None };
        let (classes, pairs) = (self.images.classes, labels.iter().zip(predicted));
        Some(self.confusion.get_or_init(|| match &self.counts {
            None => Confusion::new(classes, pairs.map(|(&label, &predicted)| (label, predicted, 1))),
            Some(counts) => {
                let counted = |((&label, &predicted), &count): (_, &u32)| (label, predicted, count as usize);
                Confusion::new(classes, pairs.zip(counts.iter()).map(counted))
            }
        }))
    }

    /// The counts of each class.
    pub fn tallies(&self) -> &[Tally] {
        self.tallies.get_or_init(|| match self.confusion() {
            Some(confusion) => {
                (0..confusion.classes()).map(|class| Tally::of_class(confusion, class)).collect()
            }
            None => self.multi_label_tallies(),
        })
    }

    fn multi_label_tallies(&self) -> Vec<Tally> {
        let mut tallies = vec![Tally::default(); self.images.classes];
        for image in self.multi_label_images().into_iter().flatten() {
            for ((tally, state), &p) in tallies.iter_mut().zip(image.states).zip(image.probabilities) {
                state.known().iter().for_each(|&present| tally.add(present, is_predicted(p), image.count));
            }
        }
        tallies
    }

    /// For each class, the images ranked by its probability: that class against the rest. Images of which it is unknown
    /// are left out.
    pub fn rankings(&self) -> &[Ranking] {
        let of_class = |(class, order): (usize, &Order)| match &self.images.truth {
            Truth::Single { labels, .. } => {
                order.ranking(|image| labels[image] == class, |image| self.count(image))
            }
            Truth::Multi(labels) => {
                let known = |image: usize| labels.row(image)[class].known();
                let count = |image| known(image).map_or(0, |_| self.count(image));
                order.ranking(|image| known(image) == Some(true), count)
            }
        };
        self.rankings.get_or_init(|| self.images.orders().iter().enumerate().map(of_class).collect())
    }
}

/// The same images with the same probabilities and multiplicities.
impl PartialEq for Predictions {
    fn eq(&self, other: &Self) -> bool {
        let (images, others) = (&self.images, &other.images);
        images.truth == others.truth
            && images.probabilities == others.probabilities
            && self.counts == other.counts
    }
}

impl Images {
    /// Number of images.
    fn len(&self) -> usize {
        self.probabilities.len() / self.classes
    }

    /// The probabilities of each image.
    fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.probabilities.chunks_exact(self.classes)
    }

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
fn checked_probabilities<P: Copy + Into<f64>>(
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
        assert_eq!(predictions.images().unwrap().map(|image| image.predicted).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn nan_is_an_error_that_says_where_and_what_to_do() {
        let message = error(&[0, 1], &[vec![0.5, 0.5], vec![0.5, f32::NAN]], 2);
        assert!(message.contains("image 1 has NaN as its probability of class 1"), "{message}");
        assert!(message.contains("learning rate"), "{message}");
    }

    #[test]
    fn multi_label_shapes_and_probabilities_are_checked() {
        let mut labels = MultiLabels::new(2);
        labels.push(&[State::Present, State::Unknown]);
        let error = |rows: &[Vec<f32>], classes| {
            Predictions::of(&Labels::Multi(labels.clone()), rows, classes).unwrap_err().to_string()
        };
        assert!(error(&[vec![0.5, f32::NAN]], 2).contains("NaN"));
        assert!(error(&[vec![0.5]], 2).contains("2 classes"));
        assert!(error(&[], 2).contains("0 rows"));
        assert!(error(&[vec![0.5; 3]], 3).contains("the labels have 2 classes, but the probabilities 3"));
        let none = Labels::Multi(MultiLabels::new(2));
        assert!(Predictions::of::<f32>(&none, &[], 2).unwrap_err().to_string().contains("no images"));
    }

    #[test]
    fn unknown_labels_count_nowhere() {
        use State::{Absent, Present, Unknown};
        let mut labels = MultiLabels::new(2);
        [[Present, Unknown], [Absent, Present], [Unknown, Unknown], [Present, Absent]]
            .iter()
            .for_each(|states| labels.push(states));
        let rows = [vec![0.9f32, 0.9], vec![0.6, 0.7], vec![0.1, 0.1], vec![0.2, 0.4]];
        let predictions = Predictions::of(&Labels::Multi(labels), &rows, 2).unwrap();
        let tally = |hits, predicted, support, known| Tally { hits, predicted, support, known };
        assert_eq!(predictions.tallies(), [tally(1, 2, 2, 3), tally(1, 1, 1, 2)]);
        let scores = crate::scores(&predictions);
        assert_eq!(scores["accuracy"], Some(1.0 / 3.0), "the third image has no known label");
        assert_eq!(scores["auroc"], Some((0.5 + 1.0) / 2.0));
        for metric in crate::METRICS {
            assert_eq!(scores[metric.name].is_some(), metric.is_multi_label, "{}", metric.name);
        }
        let only_third = predictions.resampled([0, 0, 1, 0].into());
        assert!(crate::scores(&only_third).values().all(Option::is_none));
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
