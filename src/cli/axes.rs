//! Which stages each axis of a sweep multiplies, for `check` and `plan`.

use std::io::{self, Write};

use indexmap::IndexSet;

use super::output::{count, folded};
use crate::plan::{Plan, PlannedStage};

/// The maximum number of names in a line.
const NAMES_SHOWN: usize = 8;

/// One line per axis: its number of values, and the stages that it multiplies.
pub(super) fn list(plan: &Plan, out: &mut impl Write) -> io::Result<()> {
    for (axis, values) in &plan.experiment.axes {
        writeln!(out, "{}", folded(&line(plan, axis, values.len())))?;
    }
    Ok(())
}

fn line(plan: &Plan, axis: &str, values: usize) -> String {
    let names = |stage: &'_ PlannedStage| stage.name.clone();
    let all: IndexSet<String> = plan.stages().map(names).collect();
    let multiplied = || plan.stages().filter(|stage| stage.at.contains_key(axis));
    let which: IndexSet<String> = multiplied().map(names).collect();
    let (of, all, given) = (which.len(), count(all.len(), "stage", "stages"), multiplied().count());
    let values = count(values, "value", "values");
    format!("  axis {axis}, {values}: multiplies {of} of {all}, which gives {given}: {}", listed(&which))
}

/// The first names, and the number of further ones.
fn listed(names: &IndexSet<String>) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_SHOWN).map(String::as_str).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{}, and {more} more", shown.join(", ")),
    }
}
