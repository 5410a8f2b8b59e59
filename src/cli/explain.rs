//! `medmerge explain`.

use std::io::Write;

use clap::Args;

use super::experiments::{OneFile, stages_named};
use super::output::{folded, stdout};
use super::{Error, Global};
use crate::plan::{Cause, PlannedStage, Status};

/// Show why a stage would run, and everything that its result depends on
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge explain experiments/quickstart.toml merged              at every combination of its axes
  medmerge explain experiments/quickstart.toml 'merged[seed=0]'    at those with this seed")]
pub(super) struct Explain {
    #[command(flatten)]
    of: OneFile,
    /// Name or id of the stage, or its name with some of its axes
    stage: String,
}

impl Explain {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        let store = global.open_store_to_read()?;
        let plan = self.of.plan(&store)?;
        let mut out = stdout();
        for stage in stages_named(&plan, &self.stage)? {
            explain(stage, &plan.root_causes(stage, &store)?, &mut out)?;
        }
        Ok(())
    }
}

fn explain(stage: &PlannedStage, causes: &[Cause], out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{} ({}) is {}", stage.id, stage.spec.kind(), stage.status.word())?;
    writeln!(out, "  fingerprint {}", stage.fingerprint)?;
    if let Status::Stale(reasons) = &stage.status {
        for why in reasons {
            writeln!(out, "{}", folded(&format!("  why: {why}")))?;
        }
    }
    for Cause { stage, why } in causes {
        writeln!(out, "{}", folded(&format!("  root cause: {stage}: {why}")))?;
    }
    writeln!(out, "  depends on")?;
    for field in &stage.fields {
        writeln!(out, "{}", folded(&format!("    {} = {}", field.path, field.value)))?;
    }
    Ok(())
}
