//! Labels of images: one class each, or any number of classes.

use serde::{Deserialize, Serialize};

/// How images are labeled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Labeling {
    /// One class per image.
    #[default]
    SingleLabel,
    /// Any number of classes per image.
    MultiLabel,
}

impl Labeling {
    /// Whether images have one class each.
    pub fn is_single_label(&self) -> bool {
        *self == Self::SingleLabel
    }

    /// Name for messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SingleLabel => "single-label",
            Self::MultiLabel => "multi-label",
        }
    }
}

/// Labels of a list of images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Labels {
    /// The class of each image.
    Single(Vec<u32>),
    /// What is known of every class of each image.
    Multi(MultiLabels),
}

impl From<Vec<u32>> for Labels {
    fn from(labels: Vec<u32>) -> Self {
        Self::Single(labels)
    }
}

impl Labels {
    /// Number of images.
    pub fn len(&self) -> usize {
        match self {
            Self::Single(labels) => labels.len(),
            Self::Multi(labels) => labels.len(),
        }
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size in memory.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Single(labels) => size_of_val(&labels[..]),
            Self::Multi(labels) => size_of_val(&labels.states[..]),
        }
    }

    /// How the images are labeled.
    pub fn labeling(&self) -> Labeling {
        match self {
            Self::Single(_) => Labeling::SingleLabel,
            Self::Multi(_) => Labeling::MultiLabel,
        }
    }

    /// The class of each image; `None` for a multi-label data set.
    pub fn single(&self) -> Option<&[u32]> {
        match self {
            Self::Single(labels) => Some(labels),
            Self::Multi(_) => None,
        }
    }

    /// The labels of the images at these positions.
    pub fn at(&self, positions: &[usize]) -> Self {
        match self {
            Self::Single(labels) => {
                Self::Single(positions.iter().map(|&position| labels[position]).collect())
            }
            Self::Multi(labels) => Self::Multi(labels.at(positions)),
        }
    }

    /// The classes that the image at this position is known to have.
    pub fn present(&self, image: usize) -> Vec<usize> {
        match self {
            Self::Single(labels) => vec![labels[image] as usize],
            Self::Multi(labels) => labels.with_state(image, State::Present).collect(),
        }
    }

    /// The label of each image as text, which differs if the labels differ.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::Single(labels) => labels.iter().map(u32::to_string).collect(),
            Self::Multi(labels) => labels.rows().map(text_of).collect(),
        }
    }

    /// Number of images known to have each class, and known not to have it.
    pub fn tally(&self, classes: usize) -> (Vec<usize>, Vec<usize>) {
        match self {
            Self::Single(labels) => {
                let mut positives = vec![0; classes];
                labels.iter().for_each(|&label| positives[label as usize] += 1);
                let negatives = positives.iter().map(|count| labels.len() - count).collect();
                (positives, negatives)
            }
            Self::Multi(labels) => (labels.count(State::Present), labels.count(State::Absent)),
        }
    }
}

/// What is known of one class of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// The image does not have the class.
    Absent,
    /// The image has the class.
    Present,
    /// It is unknown; losses and scores leave it out.
    Unknown,
}

impl State {
    /// `0`, `1` or `?`.
    fn letter(self) -> char {
        match self {
            Self::Absent => '0',
            Self::Present => '1',
            Self::Unknown => '?',
        }
    }

    fn of_letter(letter: char) -> Option<Self> {
        [Self::Absent, Self::Present, Self::Unknown].into_iter().find(|state| state.letter() == letter)
    }

    /// Whether the image has the class, if that is known.
    pub fn known(self) -> Option<bool> {
        match self {
            Self::Absent => Some(false),
            Self::Present => Some(true),
            Self::Unknown => None,
        }
    }
}

/// The states as text: `01?`.
pub fn text_of(states: &[State]) -> String {
    states.iter().map(|state| state.letter()).collect()
}

/// What is known of every class of each image. Serialized as the number of classes and a text of `0`, `1` and `?`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct MultiLabels {
    classes: usize,
    /// `[n, classes]`, row-major.
    states: Vec<State>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    classes: usize,
    states: String,
}

impl From<MultiLabels> for Stored {
    fn from(labels: MultiLabels) -> Self {
        Self { classes: labels.classes, states: text_of(&labels.states) }
    }
}

impl TryFrom<Stored> for MultiLabels {
    type Error = &'static str;

    fn try_from(Stored { classes, states }: Stored) -> Result<Self, Self::Error> {
        let states: Option<Vec<State>> = states.chars().map(State::of_letter).collect();
        let states = states.ok_or("labels must be 0, 1 or ?")?;
        match classes > 0 && states.len().is_multiple_of(classes) {
            true => Ok(Self { classes, states }),
            false => Err("the number of labels is not a multiple of the number of classes"),
        }
    }
}

impl MultiLabels {
    /// Labels of no images with this number of classes, one or more.
    pub fn new(classes: usize) -> Self {
        assert!(classes > 0, "labels have classes");
        Self { classes, states: Vec::new() }
    }

    /// Adds an image. There must be a state for each class.
    pub fn push(&mut self, states: &[State]) {
        assert_eq!(states.len(), self.classes, "one state per class");
        self.states.extend_from_slice(states);
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.states.len() / self.classes
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// The states of the classes of an image.
    pub fn row(&self, image: usize) -> &[State] {
        &self.states[image * self.classes..][..self.classes]
    }

    /// The states of each image.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[State]> {
        self.states.chunks_exact(self.classes)
    }

    /// The classes of an image in this state.
    pub fn with_state(&self, image: usize, state: State) -> impl Iterator<Item = usize> {
        let states = self.row(image).iter().enumerate();
        states.filter(move |(_, other)| **other == state).map(|(class, _)| class)
    }

    /// The labels of the images at these positions.
    pub fn at(&self, positions: &[usize]) -> Self {
        let mut chosen = Self::new(self.classes);
        positions.iter().for_each(|&position| chosen.push(self.row(position)));
        chosen
    }

    /// Number of images in which each class is in this state.
    pub fn count(&self, state: State) -> Vec<usize> {
        let mut counts = vec![0; self.classes];
        for row in self.rows() {
            row.iter().zip(&mut counts).for_each(|(other, count)| *count += usize::from(*other == state));
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::State::{Absent, Present, Unknown};
    use super::*;

    fn labels() -> MultiLabels {
        let mut labels = MultiLabels::new(3);
        labels.push(&[Present, Absent, Unknown]);
        labels.push(&[Present, Present, Absent]);
        labels
    }

    #[test]
    fn states_are_counted_chosen_and_written_by_class() {
        let labels = labels();
        assert_eq!((labels.len(), labels.classes()), (2, 3));
        assert_eq!(
            [Absent, Present, Unknown].map(|state| labels.count(state)),
            [[0, 1, 1], [2, 1, 0], [0, 0, 1]]
        );
        assert_eq!(Labels::Multi(labels.clone()).texts(), ["10?", "110"]);
        assert_eq!(Labels::Multi(labels.clone()).tally(3), (vec![2, 1, 0], vec![0, 1, 1]));
        assert_eq!(Labels::Single(vec![2, 0, 2]).tally(3), (vec![1, 0, 2], vec![2, 3, 1]));
        assert_eq!(labels.at(&[1, 1, 0]).row(2), [Present, Absent, Unknown]);
        assert_eq!(Labels::Multi(labels).present(1), [0, 1]);
    }

    #[test]
    fn labels_are_stored_as_text_and_damaged_text_is_refused() {
        let text = serde_json::to_string(&labels()).unwrap();
        assert_eq!(text, r#"{"classes":3,"states":"10?110"}"#);
        assert_eq!(serde_json::from_str::<MultiLabels>(&text).unwrap(), labels());
        for damaged in [r#"{"classes":3,"states":"10?11"}"#, r#"{"classes":0,"states":""}"#] {
            assert!(serde_json::from_str::<MultiLabels>(damaged).is_err());
        }
        assert!(serde_json::from_str::<MultiLabels>(r#"{"classes":1,"states":"x"}"#).is_err());
    }
}
