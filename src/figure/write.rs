//! Writing the files of a figure.

use std::path::{Path, PathBuf};

use super::pdf::pdf;
use super::{FigureError, FigureSpec, Shown};
use super::{barrier, budget, confusion, curves, forest, layers, precision_recall, reliability, roc};
use table::write_file;

/// Write `<dir>/<experiment>/<name>.svg` and `.csv`, and what else the kind has or the figure asks for, and return the
/// paths; nothing is
/// written if there is nothing to show yet. The bytes are reproducible. Files are written atomically; unchanged files
/// are not rewritten.
///
/// # Errors
/// A file cannot be written, stages whose merge weights are pooled have different sources or layers, or no font for a
/// PDF is found.
pub fn write_figure(
    dir: &Path,
    name: &str,
    spec: &FigureSpec,
    shown: &Shown<'_>,
) -> Result<Vec<PathBuf>, FigureError> {
    let files = match spec {
        FigureSpec::Layers(spec) => layers::files(name, spec, shown)?,
        FigureSpec::Confusion(spec) => confusion::files(name, spec, shown),
        FigureSpec::Roc(spec) => roc::files(name, spec, shown),
        FigureSpec::PrecisionRecall(spec) => precision_recall::files(name, spec, shown),
        FigureSpec::Reliability(spec) => reliability::files(name, spec, shown),
        FigureSpec::Curves(spec) => curves::files(name, spec, shown),
        FigureSpec::Forest(spec) => forest::files(name, spec, shown),
        FigureSpec::Budget(spec) => budget::files(name, spec, shown),
        FigureSpec::Barrier(spec) => barrier::files(name, spec, shown),
    };
    let write = |extension: &str, content: &[u8]| {
        write_file(dir, shown.experiment, ("figure", name), extension, content)
    };
    let mut paths = Vec::new();
    for (extension, text) in &files {
        paths.push(write(extension, text.as_bytes())?);
        if *extension == "svg" && spec.pdf() {
            let error = |source| FigureError::Pdf { figure: name.to_owned(), source };
            paths.push(write("pdf", &pdf(text).map_err(error)?)?);
        }
    }
    Ok(paths)
}
