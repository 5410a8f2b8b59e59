//! Errors in data sets.

use std::path::{Path, PathBuf};

/// An unusable data set. Exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {message}", path.display(), place.as_deref().map(|p| format!(", {p}")).unwrap_or_default())]
pub struct DataError {
    /// The file.
    pub path: PathBuf,
    /// Location in the file: `row 12`, `train_labels[3]`.
    pub place: Option<String>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl DataError {
    /// An error in a whole file or folder.
    pub fn new(path: &Path, message: impl Into<String>) -> Self {
        Self { path: path.into(), place: None, message: message.into() }
    }

    /// An error at one location in a file.
    pub fn at(path: &Path, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), place: Some(place.into()), message: message.into() }
    }

    /// A file that could not be read or written.
    pub(super) fn io(path: &Path, doing: &str, error: &std::io::Error) -> Self {
        Self::new(path, format!("failed to {doing}: {error}"))
    }
}
