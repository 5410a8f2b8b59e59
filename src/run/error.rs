//! Why a run could not go on at all. A stage that fails is no such error: it is in the outcome.

use std::path::PathBuf;

use store::StoreError;

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is to be made has no room.
    #[error(
        "failed to start: what is to be made takes about {} MiB, and the disk of {} has {} MiB left; free some space \
         (`medmerge store gc FILE…` tells what could go), or choose another folder with --store or MEDMERGE_STORE",
        needed >> 20,
        root.display(),
        free >> 20
    )]
    Space {
        /// Bytes that it takes, about.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// The store.
        root: PathBuf,
    },
    /// The run's record could not be written.
    #[error("failed to write the run's record {}: {source}; is there space left on the disk?", path.display())]
    Record {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A worker found that no stage can go on.
    #[error("{stage}: {message}")]
    Worker {
        /// Id of the stage that it was to make.
        stage: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// A worker could not be started.
    #[error(
        "failed to start a process to make {stage}: {source}; is there memory left, and room for a process?"
    )]
    Start {
        /// Id of the stage that it was to make.
        stage: String,
        /// What the system says.
        source: std::io::Error,
    },
}
