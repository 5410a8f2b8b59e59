//! Errors that stop a whole run. A failed stage does not: it is part of the [`Outcome`](super::Outcome).

use std::path::PathBuf;

use store::StoreError;

/// An error that stops a run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is not enough disk space for the results.
    #[error(
        "failed to start: the results need about {} MiB, and the disk of {} has {} MiB free; free some space \
         (`medmerge store gc FILE…` lists what can be deleted), or choose another folder with --store or MEDMERGE_STORE",
        needed >> 20,
        root.display(),
        free >> 20
    )]
    Space {
        /// Estimated size of the results in bytes.
        needed: u64,
        /// Free disk space in bytes.
        free: u64,
        /// The store's folder.
        root: PathBuf,
    },
    /// The run's record could not be written.
    #[error("failed to write the run's record {}: {source}; is there space left on the disk?", path.display())]
    Record {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A worker reported an error that affects every stage.
    #[error("{stage}: {message}")]
    Worker {
        /// Id of the stage that it was started for.
        stage: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// The place where stages should run refuses them as they are asked for.
    #[error("{0}")]
    Refused(String),
    /// A worker could not be started.
    #[error("failed to start a process for {stage}: {source}; check free memory and the limit on processes")]
    Start {
        /// Id of the stage that it was started for.
        stage: String,
        /// The system's error.
        source: std::io::Error,
    },
}
