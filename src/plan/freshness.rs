//! Whether a stage has to run, and why.

use std::fmt;
use std::path::PathBuf;

use super::fingerprint::short;

/// Whether the store has what a stage makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is in the store.
    Fresh,
    /// It is not, and these are the reasons: at least one.
    Stale(Vec<Why>),
}

impl Status {
    /// Whether the store lacks it.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Stale(_))
    }
}

/// One reason for a stage to run. One variant a cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing of this stage of this experiment was ever made, or nothing of it is left.
    NeverMade,
    /// An option, the data, a revision or the numerics changed since it was last made.
    Field {
        /// As in [`Field`](super::Field).
        path: String,
        /// Then; `None` if there was no such field.
        old: Option<String>,
        /// Now; `None` if there is no such field any more.
        new: Option<String>,
    },
    /// A stage that it takes from makes something else now.
    Input {
        /// What the input is used for.
        role: String,
        /// Id of the stage that it comes from now.
        stage: String,
        /// The input's fingerprint then; `None` if there was no such input.
        old: Option<String>,
        /// The input's fingerprint now.
        new: String,
    },
    /// What was made is damaged and was set aside.
    Damaged {
        /// Where it lies now.
        aside: PathBuf,
    },
    /// It was made and has been removed from the store.
    Gone,
    /// The person asked for it.
    Asked,
}
