//! Errors in predictions.

/// Predictions that cannot be scored. Images and classes are numbered from 0.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MetricError {
    /// Nothing to score.
    #[error("there is nothing to score: no images, or images without classes")]
    Nothing,
    /// The numbers of labels and of rows of probabilities differ.
    #[error("there are {labels} labels but {rows} rows of probabilities; give one of each per image")]
    Lengths {
        /// Number of labels.
        labels: usize,
        /// Number of rows.
        rows: usize,
    },
    /// A row does not have one probability per class.
    #[error("image {image} has {found} probabilities for {classes} classes")]
    RowLength {
        /// Position of the image.
        image: usize,
        /// Length of the row.
        found: usize,
        /// Number of classes.
        classes: usize,
    },
    /// Labels and probabilities have different numbers of classes.
    #[error("the labels have {labels} classes, but the probabilities {classes}")]
    Classes {
        /// Classes of the labels.
        labels: usize,
        /// Classes of the probabilities.
        classes: usize,
    },
    /// A label is out of range.
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
    /// A probability outside [0, 1].
    #[error(
        "image {image} has {value} as its probability of class {class}, which is not between 0 and 1; \
         give probabilities, not logits"
    )]
    OutOfRange {
        /// Position of the image.
        image: usize,
        /// The class.
        class: usize,
        /// The value.
        value: f64,
    },
    /// A row that does not sum to 1.
    #[error("the probabilities of image {image} sum to {sum}, not to 1; give the softmax of the logits")]
    Sum {
        /// Position of the image.
        image: usize,
        /// Sum of its row.
        sum: f64,
    },
}
