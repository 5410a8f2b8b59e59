//! What reports and figures draw, as SVG.
//!
//! | file | what |
//! |---|---|
//! | `axes` | a chart with two axes: lines, bands, bars, points |
//! | `path` | a line as the `d` of a path |
//! | `picture` | a drawing on a page, its colors and their key |
//! | `file` | drawings in rows and columns, as a file of their own |
//! | `evaluated` | predictions: confusion matrix, ROC, precision-recall, reliability |
//! | `trained` | trainings: loss and score of each epoch |
//! | `forest` | differences to the row that a table compares with |

mod axes;
mod evaluated;
mod file;
mod forest;
mod path;
mod picture;
mod trained;

pub use axes::{Chart, Scale, range};
pub use evaluated::{Evaluated, confusion, place, precision_recall, reliability, roc};
pub use file::{Panel, file};
pub use forest::forest;
pub use picture::{Picture, fill, key, stroke};
pub use trained::{Trained, losses, scores};
