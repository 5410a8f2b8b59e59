//! `medmerge status`.

mod watch;

use std::io::Write;

use clap::Args;

use super::output::{count, folded, stdout};
use super::{Error, Global};
use crate::kind::text::{visible, visible_lines};
use crate::run::executor::slurm::overview::{Overview, Place};
use crate::run::reporter::{duration, progress_text};
use crate::run::status::{RunState, RunStatus, statuses};
use crate::store::Store;

/// Show the progress of current runs, or the result of the last one
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge status            all current runs, or the last one that made something
  medmerge status --watch    the same, again every second until they have ended
  medmerge status --all      all recorded runs
  medmerge status --json | jq '.[].running'")]
pub(super) struct Status {
    /// Show every recorded run
    #[arg(long)]
    all: bool,
    /// Show the current runs again every second, until they have ended
    #[arg(long, conflicts_with_all = ["all", "json"])]
    watch: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        let store = global.open_store_to_read()?;
        if self.watch {
            return watch::watch(&store);
        }
        let mut statuses = statuses(&store)?;
        if !self.all {
            keep_relevant(&mut statuses);
        }
        if self.json {
            let json = serde_json::to_string_pretty(&statuses).expect("statuses have string keys only");
            return Ok(writeln!(std::io::stdout(), "{json}")?);
        }
        let mut out = stdout();
        if statuses.is_empty() {
            return Ok(writeln!(out, "{}", no_run(&store))?);
        }
        Ok(statuses.iter().try_for_each(|status| print(status, &mut out))?)
    }
}

fn no_run(store: &Store) -> String {
    format!("no run yet in {}", store.root().display())
}

/// Whether a run goes on, here or on a cluster.
fn is_active(status: &RunStatus) -> bool {
    matches!(status.state, RunState::Running | RunState::Detached)
}

/// Keep the active runs, or else the last one. Runs that had nothing to make do not count, unless there are no others.
fn keep_relevant(statuses: &mut Vec<RunStatus>) {
    if statuses.iter().any(is_active) {
        statuses.retain(is_active);
    } else {
        let last = statuses.iter().rposition(|status| status.stages > 0).or(statuses.len().checked_sub(1));
        *statuses = last.map(|last| statuses.swap_remove(last)).into_iter().collect();
    }
}

fn print(status: &RunStatus, out: &mut impl Write) -> std::io::Result<()> {
    let RunStatus { run, state, seconds, stages, done, failed, skipped, running, .. } = status;
    let state = match state {
        RunState::Running => "running",
        RunState::Finished => "finished",
        RunState::Interrupted => "was interrupted",
        RunState::Detached => "left to Slurm; to follow it, repeat its command",
        RunState::Died => "died; to resume it, repeat its command",
    };
    let (run, failures, time) = (visible(run), failed.len(), duration(*seconds));
    let line = format!(
        "{run}: {state}; {done} of {stages} stages made, {failures} failed, {skipped} skipped in {time}"
    );
    writeln!(out, "{}", folded(&line))?;
    // A cluster's are told with their places.
    for (stage, progress) in running.iter().filter(|_| status.slurm.is_none()) {
        let progress = progress.as_ref().map_or_else(|| "started".into(), progress_text);
        writeln!(out, "  {}: {progress}", visible(stage))?;
    }
    status.slurm.iter().try_for_each(|overview| print_overview(overview, out))?;
    for (stage, message) in failed {
        writeln!(out, "  {}: failed: {}", visible(stage), visible_lines(message))?;
    }
    Ok(())
}

/// How stages stand on a cluster.
fn print_overview(Overview { waiting, running }: &Overview, out: &mut impl Write) -> std::io::Result<()> {
    let waiting = count(*waiting, "stage waits", "stages wait");
    let made = count(running.len(), "is being made", "are being made");
    writeln!(out, "{}", folded(&format!("  on Slurm: {waiting}, {made}")))?;
    for (stage, Place { job, host, log, progress }) in running {
        let progress = progress.as_ref().map_or_else(|| "started".into(), progress_text);
        let log = log.display().to_string();
        writeln!(
            out,
            "  {}: {progress}, by job {job} on {}; log: {}",
            visible(stage),
            visible(host),
            visible(&log)
        )?;
    }
    Ok(())
}
