//! What can be wrong with a data set.

use std::path::PathBuf;

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
