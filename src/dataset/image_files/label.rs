//! What a listing says of the classes of an image.

use std::borrow::Cow;

use metric::{MultiLabels, State};

use super::enter;

/// The classes of an image, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// Its class.
    One(String),
    /// Any number of classes, in a multi-label data set; the image has none of the others.
    Any {
        /// Classes that it has.
        present: Vec<String>,
        /// Classes that it may have.
        unknown: Vec<String>,
    },
}

impl From<String> for Label {
    fn from(class: String) -> Self {
        Self::One(class)
    }
}

impl From<&str> for Label {
    fn from(class: &str) -> Self {
        Self::One(class.to_owned())
    }
}

impl Label {
    /// Any number of classes: those that an image has, and those that it may have.
    pub(crate) fn any(mut present: Vec<String>, mut unknown: Vec<String>) -> Self {
        present.sort_unstable();
        unknown.sort_unstable();
        Self::Any { present, unknown }
    }

    /// The classes that it names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let (first, rest): (&[String], &[String]) = match self {
            Self::One(class) => (std::slice::from_ref(class), &[]),
            Self::Any { present, unknown } => (present, unknown),
        };
        first.iter().chain(rest).map(String::as_str)
    }

    /// The class that a split is stratified by; the same for all images of a multi-label data set.
    pub(crate) fn stratum(&self) -> &str {
        match self {
            Self::One(class) => class,
            Self::Any { .. } => "",
        }
    }

    /// As text for readers: `a`, or `a|b`.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::One(class) => class.into(),
            Self::Any { present, .. } => present.join("|").into(),
        }
    }

    /// Renames classes, and leaves out those that are renamed to nothing.
    pub(crate) fn rename(&mut self, renamed: impl Fn(&str) -> String) {
        match self {
            Self::One(class) => *class = renamed(class),
            Self::Any { present, unknown } => {
                for names in [present, unknown] {
                    names.iter_mut().for_each(|name| *name = renamed(name));
                    names.retain(|name| !name.is_empty());
                }
            }
        }
    }

    /// Whether an image is to be left out, since its only class was renamed to nothing.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Self::One(class) if class.is_empty())
    }

    /// Adds it to a digest.
    pub(crate) fn enter(&self, hasher: &mut blake3::Hasher) {
        match self {
            Self::One(class) => enter(hasher, class.as_bytes()),
            Self::Any { present, unknown } => {
                for names in [present, unknown] {
                    hasher.update(&(names.len() as u64).to_le_bytes());
                    names.iter().for_each(|name| enter(hasher, name.as_bytes()));
                }
            }
        }
    }

    /// What is known of each of so many classes, given the index of each name. A class that is named as present counts
    /// as present, even if it is named as unknown, too: classes may have been renamed to one.
    ///
    /// # Errors
    /// The first name without an index.
    pub(super) fn states(
        &self,
        classes: usize,
        index: impl Fn(&str) -> Option<u32>,
    ) -> Result<Vec<State>, &str> {
        let mut states = vec![State::Absent; classes];
        let Self::Any { present, unknown } = self else { return Ok(states) };
        for (names, state) in [(unknown, State::Unknown), (present, State::Present)] {
            for name in names {
                states[index(name).ok_or(name.as_str())? as usize] = state;
            }
        }
        Ok(states)
    }
}

/// What is known of no images yet, per split.
pub(super) fn no_images(classes: usize) -> [MultiLabels; 3] {
    [(); 3].map(|()| MultiLabels::new(classes))
}
