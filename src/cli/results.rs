//! Result tables: collected, written, printed.

use std::io::Write;

use super::only::Only;
use super::{Error, Global};
use crate::plan::Plan;
use crate::run::collect::{SEED, collect};
use crate::store::Store;
use crate::table::write_results;

/// Writes the results of every `evaluate` stage that the store has, and prints the wanted tables on stdout.
/// Without any score, the files of earlier runs stay.
pub(super) fn write_and_print(plan: &Plan, store: &Store, only: &Only, global: &Global) -> Result<(), Error> {
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
        let files: Vec<_> = table.files.iter().map(|file| file.display().to_string()).collect();
        writeln!(out, "{}\n-> {}\n", table.terminal.trim_end(), files.join(", "))?;
    }
    Ok(())
}
