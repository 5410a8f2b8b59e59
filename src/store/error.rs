//! Errors of the store. Exit code 4.

use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};

use identity::Fingerprint;

/// Errors of the store. Exit code 4.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No permission to write.
    #[error(
        "failed to {action} {}: {source}; choose another folder with --store or MEDMERGE_STORE, \
         or change its permissions (a group can share a store: medmerge guide store-and-files)",
        path.display()
    )]
    Unwritable {
        /// The action: `write`, `create the folder`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: IoError,
    },
    /// The disk or the quota is full.
    #[error(
        "failed to {action} {}: {source}; free some space on the disk or in the quota, or choose another folder \
         with --store or MEDMERGE_STORE, and run again; the store is intact",
        path.display()
    )]
    Full {
        /// The action.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: IoError,
    },
    /// Any other error with a file.
    #[error("failed to {action} {}: {source}", path.display())]
    Io {
        /// The action.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: IoError,
    },
    /// The store was removed after it was opened.
    #[error(
        "failed to find the store {}: its folder was removed or moved while it was in use; put it back, or run \
         again to start a new one",
        root.display()
    )]
    Gone {
        /// The store.
        root: PathBuf,
    },
    /// The user interrupted; nothing was written.
    #[error("interrupted; nothing was written")]
    Interrupted,
    /// No such entry.
    #[error("failed to find {fingerprint} in the store {}; run the experiment to create it", root.display())]
    Missing {
        /// The requested entry.
        fingerprint: Fingerprint,
        /// The store.
        root: PathBuf,
    },
    /// An entry is damaged and was set aside.
    #[error(
        "failed to use {} from the store: {problem}; it was set aside as {}: run the experiment again to recreate \
         it",
        fingerprint.short(),
        aside.display()
    )]
    Damaged {
        /// The requested entry.
        fingerprint: Fingerprint,
        /// The file and the problem.
        problem: String,
        /// Current path of the entry.
        aside: PathBuf,
    },
    /// An entry is damaged, and cannot be set aside.
    #[error(
        "failed to use {} from the store: {problem}; this user has no permission to set it aside: let the owner of \
         the store run `medmerge store verify`",
        fingerprint.short()
    )]
    DamagedElsewhere {
        /// The requested entry.
        fingerprint: Fingerprint,
        /// The file and the problem.
        problem: String,
    },
    /// Decoded images are damaged and were set aside.
    #[error(
        "failed to use {}: its decoded images are damaged; the file was set aside as {}: the next run that \
         needs them decodes them again",
        path.display(),
        aside.display()
    )]
    DamagedImages {
        /// The file.
        path: PathBuf,
        /// Current path of the file.
        aside: PathBuf,
    },
    /// An archive, or an entry in it, is invalid.
    #[error("failed to import {what} from {}: {problem}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What was not imported: an entry, or anything at all.
        what: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A stage's result, or the content of a file, cannot be stored or read.
    #[error("failed to {action} {}: {source}", path.display())]
    Content {
        /// The action: `write`, `read`.
        action: &'static str,
        /// The file, or the entry's folder.
        path: PathBuf,
        /// What is wrong.
        source: Box<ContentError>,
    },
}

/// An error in the content of a file.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// A tensor with a type that checkpoints do not support.
    #[error("tensor `{name}` has type {dtype}; only f32 and i64 can be stored")]
    Dtype {
        /// Name of the tensor.
        name: String,
        /// Its type.
        dtype: &'static str,
    },
    /// A tensor could not be copied.
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// Not a safetensors file, or not writable as one.
    #[error(transparent)]
    Safetensors(#[from] safetensors::SafeTensorError),
    /// Not a CSV file.
    #[error(transparent)]
    Csv(#[from] csv::Error),
    /// Not JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Anything else.
    #[error("{0}")]
    Malformed(String),
}

impl StoreError {
    /// Classify a file error by how the user can resolve it.
    pub(crate) fn io(action: &'static str, path: &Path, source: IoError) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Self::Unwritable { action, path, source }
            }
            // `ulimit -f` and some disks limit the size of a file.
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::Full { action, path, source }
            }
            _ => Self::Io { action, path, source },
        }
    }

    /// An error in content that was read or is to be written.
    pub(crate) fn content(action: &'static str, path: &Path, source: impl Into<ContentError>) -> Self {
        Self::Content { action, path: path.to_path_buf(), source: Box::new(source.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_users_can_resolve_say_what_to_do() {
        let text = |kind| StoreError::io("write", Path::new("a/b"), IoError::from(kind)).to_string();
        for full in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge] {
            assert!(text(full).contains("; free some space on the disk"), "{}", text(full));
        }
        assert!(text(ErrorKind::ReadOnlyFilesystem).contains("MEDMERGE_STORE"));
        assert_eq!(text(ErrorKind::NotADirectory), "failed to write a/b: not a directory");
    }

    #[test]
    fn the_error_of_the_system_is_kept() {
        let error = StoreError::io("write", Path::new("a"), IoError::from(ErrorKind::StorageFull));
        let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<IoError>());
        assert_eq!(source.map(IoError::kind), Some(ErrorKind::StorageFull));
    }
}
