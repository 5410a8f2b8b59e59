//! What can be wrong with predictions.

/// Predictions that cannot be scored. Images and classes count from 0.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MetricError {
    /// Nothing to score.
    #[error("there is nothing to score: no images, or images without classes")]
    Nothing,
    /// Labels and probabilities are not of the same images.
    #[error("there are {labels} labels but {rows} rows of probabilities; give one of each an image")]
    Lengths {
        /// Number of labels.
        labels: usize,
        /// Number of rows.
        rows: usize,
    },
    /// A row has not one number a class.
    #[error("image {image} has {found} values where {classes} classes need one each")]
    RowLength {
        /// Position of the image.
        image: usize,
        /// Length of the row.
        found: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A label is not a class.
    #[error("image {image} has label {label}, but the classes are 0 to {}", classes - 1)]
    Label {
        /// Position of the image.
        image: usize,
        /// Its label.
        label: u32,
        /// Number of classes.
        classes: usize,
    },
    /// A probability is NaN or infinite.
    #[error(
        "image {image} has {value} as its probability of class {class}: the model's outputs are not finite, \
         most often because training diverged; lower the learning rate or set `clip_norm`"
    )]
    NotFinite {
        /// Position of the image.
        image: usize,
        /// The class.
        class: usize,
        /// NaN or an infinity.
        value: f64,
    },
    /// A number outside 0..=1.
    #[error(
        "image {image} has {value} as its probability of class {class}, which is not within 0 and 1; \
         give probabilities, not logits"
    )]
    OutOfRange {
        /// Position of the image.
        image: usize,
        /// The class.
        class: usize,
        /// The number.
        value: f64,
    },
    /// A row that is not a distribution.
    #[error("the probabilities of image {image} sum to {sum}, not to 1; give the softmax of the logits")]
    Sum {
        /// Position of the image.
        image: usize,
        /// Sum of its row.
        sum: f64,
    },
}
