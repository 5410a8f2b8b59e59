//! Writing the files of a figure.

use std::path::{Path, PathBuf};

use super::{FigureError, FigureSpec, Shown};
use super::{barrier, budget, confusion, curves, forest, layers, precision_recall, reliability, roc};
use table::write_file;

/// Write `<dir>/<experiment>/<name>.svg` and `.csv`, and what else the kind has or the figure asks for, and return the
/// paths; nothing is written if there is nothing to show yet. The bytes are reproducible, but for those of a PDF, which is
/// made anew only if its SVG is. Files are written atomically; unchanged files are not rewritten.
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
    let write =
        |extension: &str, text: &str| write_file(dir, shown.experiment, ("figure", name), extension, text);
    let mut paths = Vec::new();
    for (extension, text) in &files {
        #[cfg(feature = "pdf")]
        if *extension == "svg" && spec.pdf() {
            paths.push(write_pdf(dir, name, shown, text)?);
        }
        paths.push(write(extension, text)?);
    }
    Ok(paths)
}

/// Writes the PDF of an SVG, unless there is one and the SVG is unchanged: the bytes of a PDF are not reproducible. It comes
/// before the SVG, so that it is never of an earlier one.
#[cfg(feature = "pdf")]
fn write_pdf(dir: &Path, name: &str, shown: &Shown<'_>, svg: &str) -> Result<PathBuf, FigureError> {
    let path = |extension: &str| dir.join(shown.experiment).join(format!("{name}.{extension}"));
    if path("pdf").exists() && std::fs::read(path("svg")).is_ok_and(|old| old == svg.as_bytes()) {
        return Ok(path("pdf"));
    }
    let error = |source| FigureError::Pdf { figure: name.to_owned(), source };
    let pdf = super::pdf::to_pdf(svg).map_err(error)?;
    Ok(write_file(dir, shown.experiment, ("figure", name), "pdf", pdf)?)
}

#[cfg(all(test, feature = "pdf"))]
mod tests {
    use std::fs;

    use experiment::figure_spec::layers::LayersSpec;

    use super::super::layers::example::{axes, learned, spec};
    use super::super::pdf::is_possible;
    use super::*;

    #[test]
    fn a_pdf_is_made_anew_only_with_its_svg() {
        if !is_possible() {
            return println!("not tested: this machine has no font for PDF files");
        }
        let dir = tempfile::tempdir().unwrap();
        let spec = FigureSpec::Layers(LayersSpec { pdf: true, ..spec() });
        let write = |shift: f32| {
            let (axes, learned) = (axes(), [learned("fundus", "0", shift)]);
            let shown = Shown { experiment: "tiny", axes: &axes, learned: &learned, ..Shown::default() };
            let paths = write_figure(dir.path(), "layers", &spec, &shown).unwrap();
            assert_eq!(paths[0], dir.path().join("tiny/layers.pdf"));
            fs::read(&paths[0]).unwrap()
        };
        let first = write(0.0);
        let text = String::from_utf8_lossy(&first);
        assert!(
            text.starts_with("%PDF-") && text.contains("/FontFile") && text.contains("/ToUnicode"),
            "{text}"
        );
        assert!(first.len() < 100_000, "{}", first.len());
        assert_eq!(write(0.0), first);
        assert_ne!(write(0.5), first);
    }
}
