//! What can be wrong with a data set.

use std::path::{Path, PathBuf};

/// A data set that cannot be used. Exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {message}", path.display(), place.as_deref().map(|p| format!(", {p}")).unwrap_or_default())]
pub struct DataError {
    /// The file.
    pub path: PathBuf,
    /// The place in it: `row 12`, `train_labels[3]`.
    pub place: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
}

impl DataError {
    /// Something that is wrong with a whole file or folder.
    pub fn new(path: &Path, message: impl Into<String>) -> Self {
        Self { path: path.into(), place: None, message: message.into() }
    }

    /// Something that is wrong at one place of a file.
    pub fn at(path: &Path, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), place: Some(place.into()), message: message.into() }
    }

    /// A file that could not be read or written.
    pub(super) fn io(path: &Path, doing: &str, error: &std::io::Error) -> Self {
        Self::new(path, format!("failed to {doing}: {error}"))
    }
}
