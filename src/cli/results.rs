//! Collecting, writing and printing result tables and figures.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::only::Only;
use super::output::{columns, count, folded, stdout};
use super::report::write_report;
use super::{Error, Global};
use crate::collect::figures::Figures;
use crate::collect::named::{PREDICTIONS, write_predictions};
use crate::collect::weights::collect_weights;
use crate::collect::{Collected, SEED, collect};
use crate::plan::Plan;
use crate::store::Store;
use crate::table::{Rendered, write_results};

/// The file of all scores of an experiment.
pub(super) const SCORES: &str = "metrics.csv";

/// The maximum number of stages listed in a warning.
const NAMES_SHOWN: usize = 8;

/// What to write besides tables and figures.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct Extra {
    /// Also write predictions to <results>/<experiment>/predictions/, one file per model and data set
    #[arg(long)]
    predictions: bool,
    /// Also write <results>/<experiment>/report.html, as `medmerge report` does
    #[arg(long)]
    report: bool,
}

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

/// The tables and figures of an experiment, with their files.
pub(super) struct Written<'p> {
    /// In the order of the experiment.
    pub(super) tables: Vec<Rendered>,
    /// Names and files.
    pub(super) figures: Vec<(&'p str, Vec<PathBuf>)>,
}

impl Written<'_> {
    /// Every file, with the scores first.
    pub(super) fn files(&self, plan: &Plan, global: &Global) -> Vec<PathBuf> {
        let scores = global.results.join(&plan.experiment.name).join(SCORES);
        let tables = self.tables.iter().flat_map(|table| &table.files);
        let figures = self.figures.iter().flat_map(|(_, files)| files);
        let files = std::iter::once(&scores).chain(tables).chain(figures).filter(|file| file.is_file());
        files.cloned().collect()
    }
}

/// Write the results of every `evaluate` stage in the store, and the figures of the available merge weights. Where there
/// is nothing to show, files of earlier runs are kept.
pub(super) fn write<'p>(plan: &'p Plan, store: &Store, global: &Global) -> Result<Written<'p>, Error> {
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
        let (file, stage) = (plan.experiment.source.path.display(), &unscored.stage);
        tracing::warn!(
            "{unscored}; its cells are empty; evaluate again with: medmerge run {file} --rerun '{stage}'"
        );
    }
    let tables = write_tables(plan, &scores, global)?;
    let figures = Figures::collect(plan, store)?.write(&global.results, &scores, &weights, &tables)?;
    Ok(Written { tables, figures })
}

/// Write tables and figures. Then print the wanted tables to stdout, and the paths of the wanted figures.
pub(super) fn write_and_print(
    plan: &Plan,
    store: &Store,
    only: &Only,
    format: Format,
    extra: Extra,
    global: &Global,
) -> Result<(), Error> {
    let written = write(plan, store, global)?;
    let Written { tables, figures } = &written;
    let predictions = match extra.predictions {
        true => write_predictions(plan, store, &global.results)?,
        false => 0,
    };
    let mut out = printed_to(format);
    for table in tables.iter().filter(|table| only.prints(plan, &table.name)) {
        writeln!(out, "{}", printed(table, format))?;
    }
    // Paths of figures are printed only with the tables for terminals.
    for (name, files) in figures.iter().filter(|(name, _)| only.prints(plan, name)) {
        if matches!(format, Format::Terminal) {
            writeln!(out, "{}", folded(&format!("{name}\n-> {}\n", list(files))))?;
        }
    }
    if matches!(format, Format::Terminal) && predictions > 0 {
        let folder = global.results.join(&plan.experiment.name).join(PREDICTIONS);
        let files = count(predictions, "file", "files");
        writeln!(out, "predictions\n-> {files} in {}\n", folder.display())?;
    }
    if extra.report {
        let path = write_report(plan, store, &written, global)?;
        if matches!(format, Format::Terminal) {
            writeln!(out, "report\n-> {}\n", path.display())?;
        }
    }
    let notes = plan.experiment.notes.trim();
    if matches!(format, Format::Terminal) && !tables.is_empty() && !notes.is_empty() {
        writeln!(out, "{}", folded(notes))?;
    }
    Ok(())
}

/// The first names, and the number of further ones.
fn listed(names: &[&str]) -> String {
    let (shown, more) = names.split_at(names.len().min(NAMES_SHOWN));
    match more.len() {
        0 => shown.join(", "),
        more => format!("{}, and {more} more", shown.join(", ")),
    }
}

fn write_tables(plan: &Plan, collected: &Collected, global: &Global) -> Result<Vec<Rendered>, Error> {
    let experiment = &plan.experiment;
    if collected.scores.is_empty() {
        return Ok(Vec::new());
    }
    let axes: Vec<_> = experiment.axes.keys().filter(|axis| *axis != SEED).cloned().collect();
    Ok(write_results(&global.results, &experiment.name, &axes, &experiment.tables, &collected.scores)?)
}

/// Stdout; what others wrote is escaped for a terminal, and kept as it is in formats for programs.
fn printed_to(format: Format) -> Box<dyn Write> {
    match format {
        Format::Terminal => Box::new(stdout()),
        _ => Box::new(std::io::stdout()),
    }
}

fn printed(table: &Rendered, format: Format) -> String {
    match format {
        Format::Terminal => folded(&format!("{}\n-> {}\n", fitted(table).trim_end(), list(&table.files))),
        Format::Markdown => table.markdown.clone(),
        Format::Latex => table.latex.clone(),
        Format::Csv => table.csv.clone(),
    }
}

/// As wide as the terminal allows; unchanged for a file or another program.
fn fitted(table: &Rendered) -> String {
    columns().map_or_else(|| table.terminal.clone(), |columns| table.folded(columns))
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
