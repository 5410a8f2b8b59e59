//! `medmerge report`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::device::OnDevice;
use super::experiments::{Files, warn};
use super::output::stdout;
use super::results::{Written, write};
use super::{Error, Global};
use crate::collect::report::report;
use crate::collect::thumbnails::Thumbnails;
use crate::plan::Plan;
use crate::report::{Report as Page, render, render_index};
use crate::store::Store;
use crate::table::{TableError, write_file};

/// Name of the page, without its extension.
const NAME: &str = "report";

/// The page in the folder of an experiment's results.
pub(super) const PAGE: &str = "report.html";

/// Write one HTML page per experiment with its tables, curves, stages and origin, and one for several experiments
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge report experiments/quickstart.toml     results/quickstart/report.html
  medmerge report experiments/small               a page each, and results/small/report.html with all tables

A page is one file: it can be mailed, and opened without a network. Nothing runs: it shows what the store has.
Of data sets of the kinds `manifest` and `folder`, which may show patients, images are shown only with --thumbnails all.")]
pub(super) struct Report {
    #[command(flatten)]
    files: Files,
    /// Data sets of which images are shown that models are most confidently wrong about
    #[arg(long, value_enum, default_value_t, value_name = "WHICH")]
    thumbnails: Thumbnails,
    #[command(flatten)]
    on: OnDevice,
}

impl Report {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        let store = global.open_store_to_read()?;
        let mut pages = Vec::new();
        for experiment in self.files.load()? {
            let plan = Plan::new(experiment, &store, self.on.numerics())?;
            warn(std::slice::from_ref(&plan));
            let page = page(&plan, &store, &write(&plan, &store, global)?, self.thumbnails)?;
            writeln!(stdout(), "{}", write_page(global, &page.name, &render(&page))?.display())?;
            pages.push(page);
        }
        if pages.len() > 1 {
            writeln!(stdout(), "{}", write_index(global, &pages)?.display())?;
        }
        Ok(())
    }
}

/// Write the page of an experiment whose tables and figures are written; returns its path.
pub(super) fn write_report(
    plan: &Plan,
    store: &Store,
    written: &Written<'_>,
    global: &Global,
) -> Result<PathBuf, Error> {
    write_page(global, &plan.experiment.name, &render(&page(plan, store, written, Thumbnails::default())?))
}

/// What the page of an experiment shows.
fn page(plan: &Plan, store: &Store, written: &Written<'_>, thumbnails: Thumbnails) -> Result<Page, Error> {
    let mut figures = Vec::new();
    for (name, files) in &written.figures {
        for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "svg")) {
            let svg = fs::read_to_string(file).map_err(TableError::io(file))?;
            figures.push(((*name).to_owned(), svg));
        }
    }
    let tables = written.tables.iter().map(|table| (table.name.clone(), table.named()));
    Ok(Page { tables: tables.collect(), figures, ..report(plan, store, thumbnails)? })
}

fn write_page(global: &Global, experiment: &str, html: &str) -> Result<PathBuf, Error> {
    Ok(write_file(&global.results, experiment, (NAME, NAME), "html", html)?)
}

/// The page of all experiments, in the folder that has all of theirs.
fn write_index(global: &Global, pages: &[Page]) -> Result<PathBuf, Error> {
    let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
    let folder = common(&names);
    let address = |name: &str| {
        let inside = Path::new(name).strip_prefix(&folder).unwrap_or(Path::new(name));
        format!("{}/{NAME}.html", inside.display())
    };
    let listed: Vec<(&Page, String)> = pages.iter().map(|page| (page, address(&page.name))).collect();
    let title =
        if folder.as_os_str().is_empty() { "Experiments".to_owned() } else { folder.display().to_string() };
    let html = render_index(&title, &listed);
    let path = global.results.join(&folder).join(NAME).with_extension("html");
    match folder.to_str().filter(|folder| !folder.is_empty()) {
        Some(folder) => write_page(global, folder, &html),
        None => {
            fs::write(&path, html).map_err(TableError::io(&path))?;
            Ok(path)
        }
    }
}

/// The longest folder that all names are in.
fn common(names: &[&str]) -> PathBuf {
    let Some((first, rest)) = names.split_first() else { return PathBuf::new() };
    let mut folder = Path::new(first).parent().unwrap_or(Path::new("")).to_path_buf();
    while !rest.iter().all(|name| Path::new(name).starts_with(&folder) && Path::new(name) != folder) {
        folder.pop();
    }
    folder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_all_is_the_longest_common_one() {
        assert_eq!(common(&["small/main", "small/anchor"]), Path::new("small"));
        assert_eq!(common(&["small/main", "quickstart"]), Path::new(""));
        assert_eq!(common(&["a/b/c", "a/b/d", "a/e"]), Path::new("a"));
        assert_eq!(common(&["a/b", "a"]), Path::new(""));
    }
}
