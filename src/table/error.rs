//! Why a result table cannot be made or read.

use std::path::PathBuf;

/// A table that cannot be made, written or read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A `metrics.csv` that this version did not write.
    #[error("{}, line {line}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong and what to do.
        message: String,
    },
    /// A name that cannot be one of a file.
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
    /// `rows`, `columns` or `over` names nothing that scores have.
    #[error(
        "table `{table}`: `{key}` names `{field}`, which is neither a sweep axis nor a field; there are {known}"
    )]
    UnknownField {
        /// The table.
        table: String,
        /// `rows`, `columns` or `over`.
        key: &'static str,
        /// The name.
        field: String,
        /// Names that it could be.
        known: String,
    },
    /// Several scores for one value of `over` in one cell.
    #[error(
        "table `{table}`: several scores fall into {cell}: they differ in `{field}` (`{first}` and `{second}`); \
         add \"{field}\" to `columns`, make it `rows` or `over`, or make a table for each"
    )]
    Ambiguous {
        /// The table.
        table: String,
        /// Row, column and value of `over`, in words.
        cell: String,
        /// The field in which the scores differ.
        field: String,
        /// Its value in one of the scores.
        first: String,
        /// Its value in another.
        second: String,
    },
    /// Images cannot be drawn anew.
    #[error(
        "table `{table}`: a bootstrap draws images anew, which takes the predictions behind the scores, and these \
         are scores alone, as metrics.csv has them; write the table with `medmerge table`"
    )]
    NoPredictions {
        /// The table.
        table: String,
    },
    /// The same score twice.
    #[error(
        "table `{table}`: two scores fall into {cell}, which differ in nothing but perhaps the value; name each \
         stage in `from` once and give each model a label of its own"
    )]
    Duplicate {
        /// The table.
        table: String,
        /// Row, column and value of `over`, in words.
        cell: String,
    },
}

impl TableError {
    /// For `map_err`: an error of the system with its path.
    pub(super) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
