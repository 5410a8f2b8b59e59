//! `medmerge results`.

mod opener;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;

use super::experiments::did_you_mean;
use super::output::{folded, stdout};
use super::report::PAGE;
use super::results::SCORES;
use super::{Error, Global};
use crate::experiment::Experiment;
use crate::run::utc;

/// Folders below the results folder that are searched: names of experiments have few parts.
const DEPTH: usize = 8;

/// List the experiments with results, or print the tables of one of them, as they were last written
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge results                               every experiment with results, the newest last
  medmerge results quickstart                    its tables, and the paths of all files
  medmerge results experiments/quickstart.toml   the same
  medmerge results quickstart --open             its report, in the browser

Only files in the results folder are read: no data, no store. `medmerge table` writes them again.")]
pub(super) struct Results {
    /// Name of an experiment or of a folder of experiments, or an experiment file
    #[arg(value_name = "EXPERIMENT")]
    experiment: Option<String>,
    /// Open the report, as `medmerge report` wrote it
    #[arg(long, requires = "experiment")]
    open: bool,
}

/// An experiment with results.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    /// Its name: its folder below the results folder.
    name: String,
    folder: PathBuf,
    tables: Vec<String>,
    figures: Vec<String>,
    /// When its scores were written.
    written: SystemTime,
}

impl Results {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        let root = &global.results;
        let mut all = Vec::new();
        if root.exists() {
            search(root, "", DEPTH, &mut all)?;
        }
        let Some(asked) = &self.experiment else { return list(root, all) };
        let name = name_of(asked)?;
        if self.open {
            let page = root.join(&name).join(PAGE);
            return if page.is_file() { opener::open(&page) } else { Err(no_report(&page, asked)) };
        }
        let chosen: Vec<&Found> =
            all.iter().filter(|found| Path::new(&found.name).starts_with(&name)).collect();
        if chosen.is_empty() {
            return Err(not_found(root, &name, &all));
        }
        chosen.into_iter().try_for_each(print)
    }
}

/// The name of an experiment that is named, or whose file is.
fn name_of(asked: &str) -> Result<String, Error> {
    let is_file = Path::new(asked).extension().is_some_and(|end| end == "toml");
    if is_file {
        Ok(Experiment::load(Path::new(asked))?.name)
    } else {
        Ok(asked.trim_end_matches('/').to_owned())
    }
}

/// Find the experiments in a folder and those below it.
fn search(folder: &Path, name: &str, depth: usize, all: &mut Vec<Found>) -> Result<(), Error> {
    let unreadable =
        |error: std::io::Error| Error::Read { path: folder.to_owned(), message: error.to_string() };
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Ok(called) = entry.file_name().into_string() else { continue };
        let is_folder = entry.file_type().map_err(unreadable)?.is_dir();
        if is_folder { folders.push(called) } else { files.push(called) }
    }
    files.sort();
    folders.sort();
    if files.iter().any(|file| file == SCORES) {
        let written =
            fs::metadata(folder.join(SCORES)).and_then(|file| file.modified()).map_err(unreadable)?;
        let (tables, figures) = (with_csv(&files, "md"), with_csv(&files, "svg"));
        all.push(Found { name: name.to_owned(), folder: folder.to_owned(), tables, figures, written });
    }
    for below in folders.into_iter().filter(|_| depth > 0) {
        let name = if name.is_empty() { below.clone() } else { format!("{name}/{below}") };
        search(&folder.join(below), &name, depth - 1, all)?;
    }
    Ok(())
}

/// Names of what has a file with this extension and a CSV: tables have `.md`, figures `.svg`.
fn with_csv(files: &[String], extension: &str) -> Vec<String> {
    let stem = |file: &String| file.strip_suffix(extension)?.strip_suffix('.').map(str::to_owned);
    files.iter().filter_map(stem).filter(|name| files.contains(&format!("{name}.csv"))).collect()
}

/// A line for each experiment, the newest last.
fn list(root: &Path, mut all: Vec<Found>) -> Result<(), Error> {
    let mut out = stdout();
    if all.is_empty() {
        let hint = "medmerge run FILE writes them";
        return Ok(writeln!(out, "no results in {} yet; {hint}", root.display())?);
    }
    all.sort_by_key(|found| (found.written, found.name.clone()));
    let width = all.iter().map(|found| found.name.chars().count()).max().unwrap_or_default();
    for found in &all {
        writeln!(
            out,
            "{}",
            folded(&format!("{:width$}  {}  {}", found.name, utc(found.written), found.contents()))
        )?;
    }
    Ok(())
}

impl Found {
    /// `tables main, gain; figure layers; report`
    fn contents(&self) -> String {
        let named = |names: &[String], one: &str, several: &str| match names {
            [] => None,
            [name] => Some(format!("{one} {name}")),
            names => Some(format!("{several} {}", names.join(", "))),
        };
        let report = self.folder.join(PAGE).is_file().then(|| "report".to_owned());
        let parts =
            [named(&self.tables, "table", "tables"), named(&self.figures, "figure", "figures"), report];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

/// Tables as they are in the Markdown files, and the paths of the others.
fn print(found: &Found) -> Result<(), Error> {
    let mut out = stdout();
    let path = |name: &str| found.folder.join(name);
    for table in &found.tables {
        let file = path(&format!("{table}.md"));
        let text = fs::read_to_string(&file)
            .map_err(|error| Error::Read { path: file.clone(), message: error.to_string() })?;
        writeln!(out, "{}\n-> {}\n", text.trim_end(), file.display())?;
    }
    for figure in &found.figures {
        writeln!(out, "{figure}\n-> {}\n", path(&format!("{figure}.svg")).display())?;
    }
    if path(PAGE).is_file() {
        writeln!(out, "report\n-> {}\n", path(PAGE).display())?;
    }
    Ok(writeln!(out, "scores\n-> {}", path(SCORES).display())?)
}

fn not_found(root: &Path, name: &str, all: &[Found]) -> Error {
    let nearest = did_you_mean(name, all.iter().map(|found| found.name.as_str()));
    let root = root.display();
    Error::Usage(format!("failed to find results of {name:?} in {root}{nearest}; medmerge results lists all"))
}

fn no_report(page: &Path, asked: &str) -> Error {
    let file = if asked.ends_with(".toml") { asked } else { "FILE" };
    Error::Usage(format!("there is no {}; write it with: medmerge report {file}", page.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_markdown_and_a_csv() {
        let files = ["README.md", "main.csv", "main.md", "layers.csv", "layers.svg", "metrics.csv"];
        let files = files.map(str::to_owned);
        assert_eq!(
            (with_csv(&files, "md"), with_csv(&files, "svg")),
            (vec!["main".into()], vec!["layers".into()])
        );
    }

    #[test]
    fn a_folder_is_searched_down_to_a_depth() {
        let root = tempfile::tempdir().unwrap();
        for name in ["a/b", "a/b/c", "d"] {
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        for name in ["a/b", "a/b/c"] {
            fs::write(root.path().join(name).join(SCORES), "").unwrap();
        }
        let names = |depth| {
            let mut all = Vec::new();
            search(root.path(), "", depth, &mut all).unwrap();
            all.into_iter().map(|found| found.name).collect::<Vec<_>>()
        };
        assert_eq!(names(DEPTH), ["a/b", "a/b/c"]);
        assert_eq!(names(2), ["a/b"]);
    }
}
