//! Why a figure cannot be made.

use table::TableError;

/// A figure that cannot be made or written.
#[derive(Debug, thiserror::Error)]
pub enum FigureError {
    /// A file could not be written, or its name is none.
    #[error(transparent)]
    File(#[from] TableError),
    /// What `over` puts together does not fit together.
    #[error(
        "figure `{figure}`: `{first}` and `{second}` have different {what}, so their weights cannot be put together \
         over `{over}`; set `over` to another axis"
    )]
    Different {
        /// The figure.
        figure: String,
        /// Id of a stage.
        first: String,
        /// Id of another.
        second: String,
        /// `sources` or `layers`.
        what: &'static str,
        /// The axis.
        over: String,
    },
}
