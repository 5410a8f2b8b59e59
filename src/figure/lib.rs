//! Figures: SVG files for papers, each with its numbers as CSV, and PDF on request.
//!
//! | file | what |
//! |---|---|
//! | [`layers`] | learned merge weights, layer by layer |
//! | `confusion`, `roc`, `precision_recall`, `reliability` | predictions of each model on each data set |
//! | `curves` | loss and validation score of each epoch |
//! | `forest` | differences to a row of a table |
//! | `budget`, `barrier` | scores along an axis of numbers |
//! | `grid` | a panel per model and data set |
//! | `class_curves` | a curve per class, in such panels |
//! | `along` | scores along an axis, put together over seeds |
//! | `tidy` | the columns that all CSV files begin with |
//! | `pdf` | an SVG as PDF, with the feature `pdf` |
//! | `write` | the files under `results/<experiment>/` |
//!
//! To add a kind: see `experiment/figure_spec`; a file here with its name and a function `files`, and a line in
//! [`write_figure`].

mod along;
mod barrier;
mod budget;
mod class_curves;
mod confusion;
mod curves;
mod error;
mod forest;
mod grid;
pub mod layers;
#[cfg(feature = "pdf")]
mod pdf;
mod precision_recall;
mod reliability;
mod roc;
mod tidy;
mod write;

use chart::{Evaluated, Trained};
use table::{Pivot, Score};

pub use error::FigureError;
pub use experiment::figure_spec::FigureSpec;
pub use layers::learned::{self, LayerWeights, LearnedWeights};
pub use layers::statistics::{self, SourceStatistics, statistics};
#[cfg(feature = "pdf")]
pub use pdf::PdfError;
pub use write::write_figure;

/// What the figures of an experiment are drawn from.
#[derive(Debug, Default)]
pub struct Shown<'a> {
    /// Name of the experiment.
    pub experiment: &'a str,
    /// All sweep axes.
    pub axes: &'a [String],
    /// Merge weights of each stage that learned some.
    pub learned: &'a [LearnedWeights],
    /// Predictions of each model on each data set.
    pub evaluated: &'a [Evaluated],
    /// Every training.
    pub trained: &'a [Trained],
    /// Every score.
    pub scores: &'a [Score],
    /// What each table shows, by name.
    pub tables: &'a [(&'a str, &'a Pivot)],
}

impl Shown<'_> {
    /// The title of a figure.
    fn title(&self, name: &str) -> String {
        format!("{}: {name}", self.experiment)
    }
}

/// Extensions and texts of a figure's files; none if there is nothing to show yet.
type Files = Vec<(&'static str, String)>;
