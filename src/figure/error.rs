//! Errors of making or writing a figure.

use table::TableError;

#[cfg(feature = "pdf")]
use super::pdf::PdfError;

/// An error of making or writing a figure.
#[derive(Debug, thiserror::Error)]
pub enum FigureError {
    /// A file could not be written, or its name is invalid.
    #[error(transparent)]
    File(#[from] TableError),
    /// Stages that `over` pools do not match.
    #[error(
        "figure `{figure}`: `{first}` and `{second}` have different {what}, so their weights cannot be pooled \
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
        /// The axis `over`.
        over: String,
    },
    /// There is no PDF of a figure.
    #[cfg(feature = "pdf")]
    #[error("figure `{figure}`: {source}")]
    Pdf {
        /// The figure.
        figure: String,
        /// Why.
        source: PdfError,
    },
}
