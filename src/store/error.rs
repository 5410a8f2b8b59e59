//! What can go wrong with the store. Exit code 4.

use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};

use identity::Fingerprint;

/// What can go wrong with the store. Exit code 4.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No right to write there.
    #[error(
        "failed to {action} {}: {source}; choose another folder with --store or MEDMERGE_STORE, \
         or get the right to write there",
        path.display()
    )]
    Unwritable {
        /// What was tried: `write`, `create the folder`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: IoError,
    },
    /// No space left, or no right to so much of it.
    #[error(
        "failed to {action} {}: {source}; free some space on the disk or in the quota, or choose another folder \
         with --store or MEDMERGE_STORE, and run again: what is in the store stays usable",
        path.display()
    )]
    Full {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: IoError,
    },
    /// Any other trouble with a file.
    #[error("failed to {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: IoError,
    },
    /// The store was there when it was opened.
    #[error(
        "failed to find the store {}: its folder was removed or moved while it was in use; put it back, or run \
         again to start a new one",
        root.display()
    )]
    Gone {
        /// The store.
        root: PathBuf,
    },
    /// No such entry.
    #[error("failed to find {fingerprint} in the store {}; run the experiment to make it", root.display())]
    Missing {
        /// What was asked for.
        fingerprint: Fingerprint,
        /// The store.
        root: PathBuf,
    },
    /// An entry is not what was written; it was set aside.
    #[error(
        "failed to use {} from the store: {problem}; it was set aside as {}: run the experiment again to make \
         it anew",
        fingerprint.short(),
        aside.display()
    )]
    Damaged {
        /// What was asked for.
        fingerprint: Fingerprint,
        /// The file and what is wrong with it.
        problem: String,
        /// Where the entry lies now.
        aside: PathBuf,
    },
    /// Decoded images are not what was written; they were set aside.
    #[error(
        "failed to use {}: the images are not what was decoded; the file was set aside as {}: the next run that \
         needs them decodes them again",
        path.display(),
        aside.display()
    )]
    DamagedImages {
        /// The file.
        path: PathBuf,
        /// Where it lies now.
        aside: PathBuf,
    },
    /// An archive, or an entry in it, is not what was exported.
    #[error("failed to import {what} from {}: {problem}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is not imported: an entry, or anything at all.
        what: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// What a stage returned, or a file holds, is not what the store keeps.
    #[error("failed to {action} {}: {source}", path.display())]
    Content {
        /// What was tried: `write`, `read`.
        action: &'static str,
        /// The file, or the entry's folder.
        path: PathBuf,
        /// What is wrong.
        source: Box<ContentError>,
    },
}

/// What is wrong with the content of a file.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// A tensor of a number type that checkpoints do not have.
    #[error("the tensor `{name}` holds {dtype} numbers; only f32 and i64 are kept")]
    Dtype {
        /// The tensor.
        name: String,
        /// Its number type.
        dtype: &'static str,
    },
    /// A tensor could not be copied.
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// Not a safetensors file, or one that cannot be written.
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
    /// Sorts trouble with a file by what a person can do about it.
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

    /// Something that is wrong with what was read or is to be written.
    pub(crate) fn content(action: &'static str, path: &Path, source: impl Into<ContentError>) -> Self {
        Self::Content { action, path: path.to_path_buf(), source: Box::new(source.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_that_a_person_can_end_comes_with_what_to_do() {
        let text = |kind| StoreError::io("write", Path::new("a/b"), IoError::from(kind)).to_string();
        for full in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge] {
            assert!(text(full).contains("; free some space on the disk"), "{}", text(full));
        }
        assert!(text(ErrorKind::ReadOnlyFilesystem).contains("MEDMERGE_STORE"));
        assert_eq!(text(ErrorKind::NotADirectory), "failed to write a/b: not a directory");
    }

    #[test]
    fn what_the_system_said_stays_at_hand() {
        let error = StoreError::io("write", Path::new("a"), IoError::from(ErrorKind::StorageFull));
        let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<IoError>());
        assert_eq!(source.map(IoError::kind), Some(ErrorKind::StorageFull));
    }
}
