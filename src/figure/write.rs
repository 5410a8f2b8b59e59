//! Writing the files of a figure.

use std::path::{Path, PathBuf};

use super::{FigureError, FigureSpec, LearnedWeights, draw, panel, tidy};
use table::write_file;

/// Write `<dir>/<experiment>/<name>.svg` and `.csv`, and optionally `.kernels.csv`, of the merge weights learned by the
/// figure's stages, and return the paths; nothing is written if there are none yet. `axes` are all sweep axes. The
/// bytes are reproducible. Files are written atomically; unchanged files are not rewritten.
///
/// # Errors
/// A file cannot be written, or pooled stages have different sources or layers.
pub fn write_figure(
    dir: &Path,
    experiment: &str,
    name: &str,
    spec: &FigureSpec,
    axes: &[String],
    learned: &[LearnedWeights],
) -> Result<Vec<PathBuf>, FigureError> {
    let shown: Vec<&LearnedWeights> =
        learned.iter().filter(|learned| spec.from.contains(&learned.stage)).collect();
    if shown.is_empty() {
        return Ok(Vec::new());
    }
    let grid = panel::grid(name, spec, axes, &shown)?;
    let mut files = vec![
        ("svg", draw::svg(&format!("{experiment}: {name}"), &spec.over, &grid)),
        ("csv", tidy::layers(axes, &shown)),
    ];
    if spec.kernels {
        files.push(("kernels.csv", tidy::kernels(axes, &shown)));
    }
    let write = |(extension, text): (&str, String)| {
        Ok(write_file(dir, experiment, ("figure", name), extension, &text)?)
    };
    files.into_iter().map(write).collect()
}
