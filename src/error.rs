//! How the program ends: exit codes, and the errors that lead to them.

use std::path::PathBuf;

use crate::dataset::DataError;
use crate::experiment::Errors;
use crate::figure::FigureError;
use crate::merge_files::FileError;
use crate::plan::PlanError;
use crate::run::RunError;
use crate::run::collect::CollectError;
use crate::store::StoreError;
use crate::table::TableError;

/// Exit codes. Scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done.
    Done = 0,
    /// A stage failed, and what does not depend on it was done; or a device cannot be trusted.
    StageFailed = 1,
    /// The command line or an experiment file is wrong; nothing was run.
    Usage = 2,
    /// Data is missing or malformed.
    Data = 3,
    /// The store, or the folder for results, cannot be read or written.
    Store = 4,
    /// Ctrl-C, SIGTERM or SIGHUP: 128 + SIGINT.
    Interrupted = 130,
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is wrong: a sentence that says what to do.
    #[error("{0}")]
    Usage(String),
    /// An experiment file is wrong.
    #[error(transparent)]
    Experiment(#[from] Errors),
    /// There is no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A data set is wrong.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The run could not go on.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There are no scores.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// The results could not be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A figure could not be made.
    #[error(transparent)]
    Figure(#[from] FigureError),
    /// A file could not be read.
    #[error("failed to read {}: {message}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// Checkpoint files could not be merged.
    #[error(transparent)]
    Files(#[from] FileError),
    /// No handler for Ctrl-C.
    #[error("failed to install a handler for Ctrl-C: {0}")]
    Signal(#[source] ctrlc::Error),
    /// A device cannot compute.
    #[error("{0}")]
    Device(String),
    /// Nobody takes what is printed.
    #[error("failed to write to stdout: {0}")]
    Output(#[from] std::io::Error),
    /// Several of them, at least one.
    #[error("{}", .0.iter().map(Self::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<Self>),
}

impl Error {
    /// What the program exits with; of several errors, what the first one says.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Experiment(_) | Self::Plan(PlanError::Experiment(_)) => Exit::Usage,
            Self::Read { .. } | Self::Files(FileError::Read { .. }) => Exit::Usage,
            Self::Files(FileError::Write { .. }) => Exit::Store,
            Self::Files(FileError::Tensor { .. }) => Exit::StageFailed,
            Self::Data(_) | Self::Plan(PlanError::Data(_)) => Exit::Data,
            Self::Store(_) | Self::Plan(PlanError::Store(_)) => Exit::Store,
            Self::Run(_) | Self::Collect(_) | Self::Signal(_) => Exit::Store,
            Self::Table(TableError::Io { .. } | TableError::Malformed { .. }) => Exit::Store,
            Self::Figure(FigureError::File(TableError::Io { .. })) => Exit::Store,
            Self::Device(_) => Exit::StageFailed,
            // What remains is wrong in the experiment's `[table.…]` or `[figure.…]`.
            Self::Table(_) | Self::Figure(_) => Exit::Usage,
            // `medmerge plan … | head` is no failure.
            Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Output(_) => Exit::Store,
            Self::Several(errors) => errors.first().map_or(Exit::Usage, Self::exit),
        }
    }

    /// Nothing, the error, or all of them as one.
    ///
    /// # Errors
    /// If there are errors.
    pub fn all(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_errors_are_told_and_the_first_one_decides_the_exit_code() {
        let data = DataError { path: "cells.npz".into(), place: None, message: "is missing".into() };
        let errors = vec![Error::from(data), Error::Usage("no such stage".into())];
        let error = Error::all(errors).unwrap_err();
        assert_eq!(error.exit(), Exit::Data);
        assert_eq!(error.to_string(), "cells.npz: is missing\nno such stage");
        assert!(Error::all(Vec::new()).is_ok());
    }

    #[test]
    fn a_reader_that_goes_away_is_no_failure() {
        let error = Error::Output(std::io::ErrorKind::BrokenPipe.into());
        assert_eq!(error.exit(), Exit::Done);
    }
}
