//! `medmerge status`.

use std::io::Write;

use clap::Args;

use super::{Error, Global};
use crate::run::reporter::{duration, progress_text};
use crate::run::status::{RunState, RunStatus, runs, status};

/// Show the progress of current runs, or the result of the last one
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge status            every run that goes on; if none does, the last one
  medmerge status --all      every run of which there is a record
  medmerge status --json | jq '.[].running'")]
pub(super) struct Status {
    /// Show every recorded run
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        let store = global.open_store_to_read()?;
        let folders = runs(&store)?.into_iter();
        let mut statuses = folders.map(|folder| status(&store, &folder)).collect::<Result<Vec<_>, _>>()?;
        if !self.all {
            leave_the_interesting(&mut statuses);
        }
        let mut out = std::io::stdout().lock();
        if self.json {
            let json = serde_json::to_string_pretty(&statuses).expect("statuses have string keys only");
            return Ok(writeln!(out, "{json}")?);
        }
        if statuses.is_empty() {
            return Ok(writeln!(out, "no run yet in {}", store.root().display())?);
        }
        Ok(statuses.iter().try_for_each(|status| tell(status, &mut out))?)
    }
}

/// Keep the active runs, or else the last one.
fn leave_the_interesting(statuses: &mut Vec<RunStatus>) {
    if statuses.iter().any(|status| status.state == RunState::Running) {
        statuses.retain(|status| status.state == RunState::Running);
    } else {
        statuses.drain(..statuses.len().saturating_sub(1));
    }
}

fn tell(status: &RunStatus, out: &mut impl Write) -> std::io::Result<()> {
    let RunStatus { run, state, seconds, stages, done, failed, skipped, running, .. } = status;
    let state = match state {
        RunState::Running => "running",
        RunState::Finished => "finished",
        RunState::Interrupted => "was interrupted",
        RunState::Died => "died; to resume it, repeat its command",
    };
    writeln!(
        out,
        "{run}: {state}; {done} of {stages} stages made, {} failed, {skipped} skipped in {}",
        failed.len(),
        duration(*seconds)
    )?;
    for (stage, progress) in running {
        let progress = progress.as_ref().map_or_else(|| "started".into(), progress_text);
        writeln!(out, "  {stage}: {progress}")?;
    }
    for (stage, message) in failed {
        writeln!(out, "  {stage}: failed: {message}")?;
    }
    Ok(())
}
