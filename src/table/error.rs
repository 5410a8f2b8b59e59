//! Errors of making or reading a result table.

use std::path::PathBuf;

use experiment::cell::Clash;

/// A table that cannot be made, written or read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Results could not be written.
    #[error("failed to write {}: {source}; make it writable, or name another folder with --results", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A `metrics.csv` in a format that this version does not write.
    #[error("{}, line {line}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// What is wrong and what to do.
        message: String,
    },
    /// A name that is not a valid file name.
    #[error("{what} `{name}` cannot be the name of a file in the results; {help}")]
    FileName {
        /// `experiment`, `table` or `figure`.
        what: &'static str,
        /// The name.
        name: String,
        /// What to do.
        help: &'static str,
    },
    /// A sweep axis with the name of a column of `metrics.csv`.
    #[error("the sweep axis `{axis}` has the name of a column of metrics.csv; rename the axis")]
    AxisName {
        /// The axis.
        axis: String,
    },
    /// `rows`, `columns` or `over` is not a field of the scores.
    #[error(
        "table `{table}`: `{key}` has `{field}`, which is neither a sweep axis nor a field; there are {known}"
    )]
    UnknownField {
        /// The table.
        table: String,
        /// `rows`, `columns` or `over`.
        key: &'static str,
        /// The name.
        field: String,
        /// Valid names.
        known: String,
    },
    /// Several scores for the same values of `over` in one cell.
    #[error("table `{table}`: {clash}")]
    Clash {
        /// The table.
        table: String,
        /// The scores.
        clash: Clash,
    },
    /// Images cannot be resampled without predictions.
    #[error(
        "table `{table}`: a bootstrap resamples images, which needs predictions, but metrics.csv contains only \
         scores; write the table with `medmerge table`"
    )]
    NoPredictions {
        /// The table.
        table: String,
    },
}

impl TableError {
    /// For `map_err`: a system error with its path.
    pub fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// For `map_err`: a system error with the path of results.
    pub(super) fn write(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Write { path, source }
    }
}
