//! Exit codes, and the errors that lead to them.

use std::path::PathBuf;

use crate::collect::CollectError;
use crate::dataset::DataError;
use crate::experiment::Errors;
use crate::figure::FigureError;
use crate::merge_files::FileError;
use crate::plan::PlanError;
use crate::run::RunError;
use crate::store::StoreError;
use crate::table::TableError;

/// Exit codes, which scripts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Success.
    Done = 0,
    /// A stage failed, and everything that does not depend on it finished; or a device did not meet the tolerance; or a
    /// model failed to predict.
    StageFailed = 1,
    /// The command line or an experiment file is invalid, and nothing ran; or Slurm refuses what is asked for.
    Usage = 2,
    /// Data is missing or malformed.
    Data = 3,
    /// The store or the results folder cannot be read or written.
    Store = 4,
    /// Ctrl-C, SIGTERM or SIGHUP: 128 + SIGINT.
    Interrupted = 130,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is invalid; the message says what to do.
    #[error("{0}")]
    Usage(String),
    /// An experiment file is invalid.
    #[error(transparent)]
    Experiment(#[from] Errors),
    /// The plan could not be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A data set is missing or malformed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An image cannot be decoded; the message names it.
    #[error("{0}")]
    Image(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The run stopped.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A table could not be made.
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
    /// The Ctrl-C handler could not be installed.
    #[error("failed to install the Ctrl-C handler: {0}")]
    Signal(#[source] ctrlc::Error),
    /// A device cannot be used.
    #[error("{0}")]
    Device(String),
    /// A model cannot compute.
    #[error("failed to predict: {0}")]
    Predict(String),
    /// Stdout is closed or cannot be written.
    #[error("failed to write to stdout: {0}")]
    Output(#[from] std::io::Error),
    /// Several errors, at least one.
    #[error("{}", .0.iter().map(Self::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<Self>),
}

impl Error {
    /// The program's exit code; that of the first of several errors.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Experiment(_) | Self::Plan(PlanError::Experiment(_)) => Exit::Usage,
            Self::Read { .. } | Self::Files(FileError::Read { .. }) => Exit::Usage,
            Self::Files(FileError::Write { .. }) => Exit::Store,
            Self::Files(FileError::Tensor { .. }) => Exit::StageFailed,
            Self::Files(FileError::Interrupted) | Self::Store(StoreError::Interrupted) => Exit::Interrupted,
            Self::Data(_) | Self::Image(_) | Self::Plan(PlanError::Data(_)) => Exit::Data,
            Self::Store(_) | Self::Plan(PlanError::Store(_)) => Exit::Store,
            Self::Run(RunError::Refused(_)) => Exit::Usage,
            Self::Collect(CollectError::Groups { .. }) => Exit::Data,
            Self::Run(_) | Self::Collect(_) | Self::Signal(_) => Exit::Store,
            Self::Table(TableError::Io { .. } | TableError::Write { .. } | TableError::Malformed { .. }) => {
                Exit::Store
            }
            Self::Figure(FigureError::File(TableError::Io { .. } | TableError::Write { .. })) => Exit::Store,
            Self::Device(_) | Self::Predict(_) => Exit::StageFailed,
            // The error is in the experiment's `[table.…]` or `[figure.…]`.
            Self::Table(_) | Self::Figure(_) => Exit::Usage,
            // `medmerge plan … | head` is not a failure.
            Self::Output(_) if self.is_closed_stdout() => Exit::Done,
            Self::Output(_) => Exit::Store,
            Self::Several(errors) => errors.first().map_or(Exit::Usage, Self::exit),
        }
    }

    /// Whether the reader of stdout has closed it.
    pub fn is_closed_stdout(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }

    /// Combine errors: `Ok` for none, the error itself for one, [`Error::Several`] for more.
    ///
    /// # Errors
    /// There is at least one error.
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
    fn several_errors_are_reported_and_the_first_decides_the_exit_code() {
        let data = DataError { path: "cells.npz".into(), place: None, message: "is missing".into() };
        let errors = vec![Error::from(data), Error::Usage("no such stage".into())];
        let error = Error::all(errors).unwrap_err();
        assert_eq!(error.exit(), Exit::Data);
        assert_eq!(error.to_string(), "cells.npz: is missing\nno such stage");
        assert!(Error::all(Vec::new()).is_ok());
    }

    #[test]
    fn a_closed_stdout_is_not_a_failure() {
        let error = Error::Output(std::io::ErrorKind::BrokenPipe.into());
        assert_eq!(error.exit(), Exit::Done);
    }
}
