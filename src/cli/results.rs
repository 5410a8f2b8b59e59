//! Result tables: collected, written, printed.

use std::io::Write;

use clap::ValueEnum;

use super::only::Only;
use super::{Error, Global};
use crate::plan::Plan;
use crate::run::collect::{SEED, collect};
use crate::store::Store;
use crate::table::{Rendered, write_results};

/// How tables are printed.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Format {
    /// Aligned columns, and the files that were written
    #[default]
    Terminal,
    /// The .md files
    Markdown,
    /// The .tex files
    Latex,
    /// The .csv files
    Csv,
}

/// Writes the results of every `evaluate` stage that the store has, and prints the wanted tables on stdout.
/// Without any score, the files of earlier runs stay.
pub(super) fn write_and_print(
    plan: &Plan,
    store: &Store,
    only: &Only,
    format: Format,
    global: &Global,
) -> Result<(), Error> {
    let experiment = &plan.experiment;
    let collected = collect(plan, store)?;
    if !collected.missing.is_empty() {
        let missing = collected.missing.join(", ");
        tracing::warn!("the results of {} lack what has not been made: {missing}", experiment.name);
    }
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

fn printed(table: &Rendered, format: Format) -> String {
    match format {
        Format::Terminal => {
            let files: Vec<_> = table.files.iter().map(|file| file.display().to_string()).collect();
            format!("{}\n-> {}\n", table.terminal.trim_end(), files.join(", "))
        }
        Format::Markdown => table.markdown.clone(),
        Format::Latex => table.latex.clone(),
        Format::Csv => table.csv.clone(),
    }
}
