//! Collecting, writing and printing result tables and figures.

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;

use super::only::Only;
use super::{Error, Global};
use crate::collect::weights::{CollectedWeights, collect_weights};
use crate::collect::{Collected, SEED, collect};
use crate::figure::write_figure;
use crate::plan::Plan;
use crate::store::Store;
use crate::table::{Rendered, write_results};

/// The maximum number of stages listed in a warning.
const NAMES_SHOWN: usize = 8;

/// The format of printed tables.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Format {
    /// Aligned columns, and the paths of written files
    #[default]
    Terminal,
    /// The .md files
    Markdown,
    /// The .tex files
    Latex,
    /// The .csv files
    Csv,
}

/// Write the results of every `evaluate` stage in the store, and the figures of the available merge weights. Print the
/// wanted tables to stdout, and the paths of the wanted figures. Where there is nothing to show, files of earlier runs
/// are kept.
pub(super) fn write_and_print(
    plan: &Plan,
    store: &Store,
    only: &Only,
    format: Format,
    global: &Global,
) -> Result<(), Error> {
    let (scores, weights) = (collect(plan, store)?, collect_weights(plan, store)?);
    let missing: Vec<&str> = scores.missing.iter().chain(&weights.missing).map(String::as_str).collect();
    if !missing.is_empty() {
        let name = &plan.experiment.name;
        tracing::warn!(
            "the results of {name} are incomplete; these stages have not finished: {}",
            listed(&missing)
        );
    }
    for unscored in &scores.unscored {
        tracing::warn!("{unscored}; its cells are empty");
    }
    tables(plan, &scores, only, format, global)?;
    figures(plan, &weights, only, format, global)
}

/// The first names, and the number of further ones.
fn listed(names: &[&str]) -> String {
    let (shown, more) = names.split_at(names.len().min(NAMES_SHOWN));
    match more.len() {
        0 => shown.join(", "),
        more => format!("{}, and {more} more", shown.join(", ")),
    }
}

fn tables(
    plan: &Plan,
    collected: &Collected,
    only: &Only,
    format: Format,
    global: &Global,
) -> Result<(), Error> {
    let experiment = &plan.experiment;
    if collected.scores.is_empty() {
        return Ok(());
    }
    let axes: Vec<_> = experiment.axes.keys().filter(|axis| *axis != SEED).cloned().collect();
    let rendered =
        write_results(&global.results, &experiment.name, &axes, &experiment.tables, &collected.scores)?;
    let mut out = std::io::stdout().lock();
    for table in rendered.iter().filter(|table| only.prints(plan, &table.name)) {
        writeln!(out, "{}", printed(table, format))?;
    }
    Ok(())
}

/// Paths of figures are printed only with the tables for terminals.
fn figures(
    plan: &Plan,
    collected: &CollectedWeights,
    only: &Only,
    format: Format,
    global: &Global,
) -> Result<(), Error> {
    let experiment = &plan.experiment;
    let axes: Vec<_> = experiment.axes.keys().cloned().collect();
    for (name, figure) in &experiment.figures {
        let files = write_figure(&global.results, &experiment.name, name, figure, &axes, &collected.learned)?;
        if matches!(format, Format::Terminal) && !files.is_empty() && only.prints(plan, name) {
            writeln!(std::io::stdout(), "{name}\n-> {}\n", list(&files))?;
        }
    }
    Ok(())
}

fn printed(table: &Rendered, format: Format) -> String {
    match format {
        Format::Terminal => format!("{}\n-> {}\n", fitted(table).trim_end(), list(&table.files)),
        Format::Markdown => table.markdown.clone(),
        Format::Latex => table.latex.clone(),
        Format::Csv => table.csv.clone(),
    }
}

/// As wide as the terminal allows; unchanged for a file or another program.
fn fitted(table: &Rendered) -> String {
    match terminal_size::terminal_size_of(std::io::stdout()) {
        Some((terminal_size::Width(width), _)) if width > 0 => table.folded(width.into()),
        _ => table.terminal.clone(),
    }
}

fn list(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_short() {
        assert_eq!(listed(&["a", "b"]), "a, b");
        assert_eq!(listed(&["a"; NAMES_SHOWN]), ["a"; NAMES_SHOWN].join(", "));
        assert_eq!(listed(&["a"; NAMES_SHOWN + 3]), format!("{}, and 3 more", ["a"; NAMES_SHOWN].join(", ")));
    }
}
