//! Writing the files of an experiment under `results/`.

use std::fs;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use indexmap::IndexMap;

use super::names::named;
use super::{Pivot, Score, TableError, TableSpec};
use super::{compare_csv, latex, markdown, metrics_csv, table_csv, terminal};

/// A written table.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The table's name.
    pub name: String,
    /// Paths of its files.
    pub files: Vec<PathBuf>,
    /// The table as aligned text, of any width.
    pub terminal: String,
    /// What it shows.
    pub pivot: Pivot,
    /// Content of the `.csv` file.
    pub csv: String,
    /// Content of the `.md` file.
    pub markdown: String,
    /// Content of the `.tex` file.
    pub latex: String,
}

impl Rendered {
    /// What it shows, with the names that readers see.
    pub fn named(&self) -> Pivot {
        named(&self.pivot)
    }

    /// The table as aligned text on a terminal with this number of columns: a wider one comes in blocks.
    pub fn folded(&self, width: usize) -> String {
        terminal::render(&self.name, &self.pivot, width)
    }
}

/// Write `<dir>/<experiment>/metrics.csv` and, for each table, a CSV, a Markdown and a LaTeX file, and a CSV of its
/// comparisons, if any. `axes` are the sweep axes except `seed`. Files are written atomically; unchanged files are not
/// rewritten.
///
/// # Errors
/// A file cannot be written or a table cannot be made; `metrics.csv` and the other tables are still written.
pub fn write_results(
    dir: &Path,
    experiment: &str,
    axes: &[String],
    tables: &IndexMap<String, TableSpec>,
    scores: &[Score],
) -> Result<Vec<Rendered>, TableError> {
    check_name("experiment", experiment)?;
    let folder = dir.join(experiment);
    fs::create_dir_all(&folder).map_err(TableError::write(&folder))?;
    write_if_changed(&folder.join("metrics.csv"), metrics_csv::write(axes, scores)?.as_bytes())?;
    let table = |(name, spec): (&String, &TableSpec)| {
        check_name("table", name)?;
        write_table(&folder, name, &Pivot::new(name, spec, axes, scores)?)
    };
    let rendered: Vec<Result<Rendered, TableError>> = tables.iter().map(table).collect();
    rendered.into_iter().collect()
}

fn write_table(folder: &Path, name: &str, pivot: &Pivot) -> Result<Rendered, TableError> {
    let named = named(pivot);
    let mut rendered = Rendered {
        name: name.to_owned(),
        files: Vec::new(),
        terminal: terminal::render(name, pivot, usize::MAX),
        pivot: pivot.clone(),
        csv: table_csv::render(pivot),
        markdown: markdown::render(&named),
        latex: latex::render(&named),
    };
    let comparisons = pivot.spec.compare.as_ref().map(|_| compare_csv::render(pivot));
    let texts = [("csv", &rendered.csv), ("md", &rendered.markdown), ("tex", &rendered.latex)];
    for (extension, text) in texts.into_iter().chain(comparisons.as_ref().map(|text| ("compare.csv", text))) {
        let path = folder.join(format!("{name}.{extension}"));
        write_if_changed(&path, text.as_bytes())?;
        rendered.files.push(path);
    }
    Ok(rendered)
}

/// Write `<dir>/<experiment>/<name>.<extension>` atomically, unless it is unchanged; `what` is what the name belongs
/// to: `figure`. Returns the path.
///
/// # Errors
/// The name is not a valid file name, or the file cannot be written.
pub fn write_file(
    dir: &Path,
    experiment: &str,
    (what, name): (&'static str, &str),
    extension: &str,
    content: impl AsRef<[u8]>,
) -> Result<PathBuf, TableError> {
    check_name("experiment", experiment)?;
    check_name(what, name)?;
    let folder = dir.join(experiment);
    fs::create_dir_all(&folder).map_err(TableError::write(&folder))?;
    let path = folder.join(format!("{name}.{extension}"));
    write_if_changed(&path, content.as_ref())?;
    Ok(path)
}

/// Check that the results of an experiment can be written, without leaving a trace: before hours are spent on them.
///
/// # Errors
/// They cannot, or the name of the experiment is not a valid path.
pub fn check_writable(dir: &Path, experiment: &str) -> Result<(), TableError> {
    check_name("experiment", experiment)?;
    let folder = dir.join(experiment);
    let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    kind::file::beside(&existing.join("metrics.csv")).map(drop).map_err(TableError::write(&folder))
}

fn check_name(what: &'static str, name: &str) -> Result<(), TableError> {
    let error = |help| Err(TableError::FileName { what, name: name.to_owned(), help });
    // The name of an experiment may be a nested folder, `small/main`; other names are a single file.
    let mut parts = name.split(if what == "experiment" { &['/'][..] } else { &[] });
    let plain = |part: &str| {
        let mut parts = Path::new(part).components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(only)), None) if only == part)
    };
    if !parts.all(plain) {
        return error(match what {
            "experiment" => "give it a name of letters, digits, `-`, `_` and `.`, with `/` between folders",
            _ => "give it a name of letters, digits, `-` and `_`",
        });
    }
    if what != "experiment" && name.eq_ignore_ascii_case("metrics") {
        return error("metrics.csv is the file of scores; choose another name");
    }
    Ok(())
}

fn write_if_changed(path: &Path, content: &[u8]) -> Result<(), TableError> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    write_whole(path, content).map_err(TableError::write(path))
}

fn write_whole(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = kind::file::beside(path)?;
    file.write_all(content)?;
    kind::file::publish(file, path, true).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::example::{axes, scores, spec};
    use super::*;

    #[test]
    fn an_experiment_may_be_a_folder_in_a_folder_and_a_table_may_not() {
        let dir = tempfile::tempdir().unwrap();
        let write = |experiment: &str, table: &str| {
            let tables = IndexMap::from([(table.to_owned(), spec())]);
            write_results(dir.path(), experiment, &axes(), &tables, &scores())
        };
        let rendered = write("small/main", "gain").unwrap();
        assert_eq!(rendered[0].files[0], dir.path().join("small/main/gain.csv"));
        for name in ["", "/main", "small/", "small//main", "../main", "small/../main", "./main"] {
            assert!(write(name, "gain").is_err(), "{name}");
        }
        assert!(write("small", "main/gain").is_err());
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_told_and_a_missing_folder_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        check_writable(&dir.path().join("results"), "small/main").unwrap();
        assert!(!dir.path().join("results").exists());
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = check_writable(&file, "main").unwrap_err().to_string();
        assert!(error.starts_with("failed to write") && error.contains("--results"), "{error}");
    }
}
