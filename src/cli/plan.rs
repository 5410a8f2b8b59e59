//! `medmerge plan`.

use std::io::{BufWriter, Write};

use clap::Args;

use super::experiments::OneFile;
use super::{Error, Global};
use crate::plan::{self, PlannedStage, Status};

/// Say what would run, and why
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge plan experiments/quickstart.toml
  medmerge plan experiments/quickstart.toml --json | jq '.stages[] | select(.status == \"stale\") | .id'")]
pub(super) struct Plan {
    #[command(flatten)]
    of: OneFile,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Plan {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        let plan = self.of.plan(&global.open_store()?)?;
        let mut out = BufWriter::new(std::io::stdout().lock());
        match self.json {
            true => writeln!(out, "{:#}", plan.to_json())?,
            false => list(&plan, &mut out)?,
        }
        Ok(out.flush()?)
    }
}

/// A line a stage, in the order in which they run.
fn list(plan: &plan::Plan, out: &mut impl Write) -> std::io::Result<()> {
    let needed = plan.needed();
    let (stages, name) = (plan.order.len(), &plan.experiment.name);
    writeln!(out, "{name}: {stages} stages, {} to run", needed.len())?;
    let id_width = plan.graph.node_weights().map(|stage| stage.id.len()).max().unwrap_or_default();
    for node in &plan.order {
        let stage = &plan.graph[*node];
        let verb = if needed.contains(node) { "run" } else { stage.status.word() };
        let line =
            format!("  {verb:<5}  {:<19}  {:<id_width$}  {}", stage.spec.kind(), stage.id, reasons(stage));
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn reasons(stage: &PlannedStage) -> String {
    match &stage.status {
        Status::Fresh => String::new(),
        Status::Stale(why) => why.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    }
}
