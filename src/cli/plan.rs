//! `medmerge plan`.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;

use clap::Args;

use super::device::OnDevice;
use super::experiments::{Files, every, warn};
use super::only::Only;
use super::output::{count, folded, stdout};
use super::settings;
use super::{Error, Global, axes};
use crate::plan::makespan::{best_jobs, critical_path, makespan};
use crate::plan::{self, Estimate, Estimates, PlannedStage, StageId, Status};
use crate::run::executor::Workers;
use crate::run::executor::slurm::{Settings, preview};
use crate::run::reporter::duration;
use crate::run::{ExecutorKind, jobs_of};

/// Show what would run and why, with estimates of time, memory and disk space
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge plan experiments/quickstart.toml
  medmerge plan experiments/                                          every .toml in the folder
  medmerge plan experiments/quickstart.toml --all                     fresh stages, too
  medmerge plan experiments/quickstart.toml --only 'merged_ft[seed=0]'
  medmerge plan experiments/quickstart.toml --set train.epochs=20     what this would make stale
  medmerge plan experiments/quickstart.toml --json | jq '.stages[] | select(.status == \"stale\") | .id'
  medmerge plan experiments/quickstart.toml --dot | dot -Tsvg > quickstart.svg

Times are estimated from the speed of earlier stages of the same kind in this store, and improve with each run.")]
pub(super) struct Plan {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    on: OnDevice,
    #[command(flatten)]
    only: Only,
    /// List every stage, not only those that would run
    #[arg(long)]
    all: bool,
    /// Print JSON, one object per file
    #[arg(long, group = "form")]
    json: bool,
    /// Print the graph of stages for Graphviz
    #[arg(long, group = "form")]
    dot: bool,
    /// Print the graph of stages for Mermaid, which Markdown viewers render
    #[arg(long, group = "form")]
    mermaid: bool,
    /// Number of parallel stages for the estimated time [default: the fastest]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Where stages would run; for Slurm, also what would be submitted
    #[arg(long, value_enum, default_value_t = ExecutorKind::default(), value_name = "EXECUTOR")]
    executor: ExecutorKind,
    #[command(flatten)]
    slurm: Settings,
}

impl Plan {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        let experiments = self.files.load()?;
        let slurm = self.slurm()?;
        let store = global.open_store_to_read()?;
        let plan = |experiment| Ok(plan::Plan::new(Arc::clone(experiment), &store, self.on.numerics())?);
        let mut plans = every(experiments.iter().map(plan))?;
        warn(&plans);
        self.only.check(&plans)?;
        plans.retain(|plan| self.only.concerns(plan));
        let mut out = BufWriter::new(stdout());
        for plan in &mut plans {
            self.only.restrict(plan);
            let threads =
                slurm.as_ref().map_or_else(rayon::current_num_threads, |(slurm, _)| slurm.threads());
            let estimates = plan.estimates(&store, threads);
            self.print(plan, &estimates, slurm.as_ref(), &mut out)?;
        }
        Ok(out.flush()?)
    }

    fn print(
        &self,
        plan: &plan::Plan,
        estimates: &Estimates,
        slurm: Option<&Slurm>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        match self {
            Self { json: true, .. } => writeln!(out, "{:#}", plan.to_json(estimates)),
            Self { dot: true, .. } => write!(out, "{}", plan.to_dot()),
            Self { mermaid: true, .. } => write!(out, "{}", plan.to_mermaid()),
            _ => self.list(plan, estimates, slurm, out),
        }
    }

    /// One line per stage, in execution order, then totals.
    fn list(
        &self,
        plan: &plan::Plan,
        estimates: &Estimates,
        slurm: Option<&Slurm>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let (reached, needed) = (plan.reached(), plan.needed());
        let stages = count(reached.len(), "stage", "stages");
        writeln!(out, "{}: {stages}, {} to run", plan.experiment.name, needed.len())?;
        axes::list(plan, out)?;
        let nodes = plan.stage_ids().filter(|node| reached.contains(node));
        let (shown, counted): (Vec<_>, Vec<_>) = nodes.partition(|node| self.all || needed.contains(node));
        let columns = Columns::new(plan, &shown, estimates, &needed);
        for &node in &shown {
            let estimate = needed.contains(&node).then(|| estimates.of(node));
            writeln!(out, "{}", folded(&columns.line(plan.stage(node), estimate)))?;
        }
        if !counted.is_empty() {
            writeln!(out, "  {}", summary(counted.iter().map(|&node| plan.stage(node))))?;
        }
        let guessed = estimates.guessed(plan, &needed);
        if !guessed.is_empty() {
            let guessed = guessed.join(", ");
            let note = format!("times are guesses: stages of these kinds have not run here yet: {guessed}");
            writeln!(out, "{}", folded(&note))?;
        }
        if needed.is_empty() {
            return Ok(());
        }
        writeln!(out, "{}", folded(&self.total(plan, estimates, &needed)))?;
        match slurm {
            None => Ok(()),
            Some((settings, workers)) => {
                let jobs = jobs_of(plan, &needed, estimates);
                writeln!(out, "{}", folded(&preview(&jobs, settings, workers)))
            }
        }
    }

    /// Settings of Slurm, and its workers, if it is used.
    fn slurm(&self) -> Result<Option<Slurm>, Error> {
        let settings = settings::slurm(self.executor, &self.slurm, self.jobs)?;
        settings.map(|settings| Ok((settings, self.on.workers()?))).transpose()
    }

    /// What all stages to run take together.
    fn total(&self, plan: &plan::Plan, estimates: &Estimates, needed: &BTreeSet<StageId>) -> String {
        let jobs = estimates.jobs(plan, needed);
        let threads = estimates.threads();
        let total = format!(
            "total {} and {} disk; critical path {}",
            duration(jobs.iter().map(|job| job.seconds).sum()),
            size(estimates.disk_bytes(plan, needed)),
            duration(critical_path(&jobs)),
        );
        if self.executor == ExecutorKind::Slurm {
            return total;
        }
        let at_once = self.jobs.map_or_else(|| best_jobs(&jobs, threads), NonZeroUsize::get);
        format!("{total}; with --jobs {at_once} {}", duration(makespan(&jobs, at_once, threads)))
    }
}

/// What Slurm is asked with.
type Slurm = (Settings, Workers);

/// The widest column of ids; longer ids shift what follows.
const WIDEST_ID: usize = 200;

/// Widths of the columns of the list.
struct Columns {
    kind: usize,
    id: usize,
    cells: [usize; 3],
}

impl Columns {
    fn new(plan: &plan::Plan, shown: &[StageId], estimates: &Estimates, needed: &BTreeSet<StageId>) -> Self {
        let stages = || shown.iter().map(|&node| plan.stage(node));
        let kind = stages().map(|stage| stage.spec.kind().len()).max().unwrap_or_default();
        let id = stages().map(|stage| stage.id.chars().count()).max().unwrap_or_default().min(WIDEST_ID);
        let mut widths = [0; 3];
        for cells in needed.iter().map(|&node| cells(estimates.of(node))) {
            widths.iter_mut().zip(&cells).for_each(|(width, cell)| *width = cell.len().max(*width));
        }
        Self { kind, id, cells: widths }
    }

    /// The line of a stage, which runs if there is an estimate.
    fn line(&self, stage: &PlannedStage, estimate: Option<&Estimate>) -> String {
        let verb = if estimate.is_some() { "run" } else { stage.status.word() };
        let [time, memory, disk] = estimate.map(cells).unwrap_or_default();
        let (kind, id, [time_width, memory_width, disk_width]) = (self.kind, self.id, self.cells);
        let line = format!(
            "  {verb:<5}  {:<kind$}  {:<id$}  {time:>time_width$}  {memory:>memory_width$}  {disk:>disk_width$}  {}",
            stage.spec.kind(),
            stage.id,
            reasons(stage)
        );
        line.trim_end().to_owned()
    }
}

/// Time, memory and disk space.
fn cells(estimate: &Estimate) -> [String; 3] {
    let (memory, disk) = (size(estimate.memory_bytes), size(estimate.disk_bytes));
    [duration(estimate.seconds), format!("{memory} memory"), format!("{disk} disk")]
}

/// `1.5 KiB`, `12.0 MiB`, `3.2 GiB`.
fn size(bytes: u64) -> String {
    let kib = bytes as f64 / 1024.0;
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let power = (0..units.len() - 1).find(|&power| kib / 1024f64.powi(power as i32) < 999.95);
    let power = power.unwrap_or(units.len() - 1);
    format!("{:.1} {}", kib / 1024f64.powi(power as i32), units[power])
}

fn reasons(stage: &PlannedStage) -> String {
    match &stage.status {
        Status::Fresh => String::new(),
        Status::Stale(why) => why.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    }
}

/// `12 fresh`; `12 fresh; 3 stale, but not needed`.
fn summary<'a>(counted: impl Iterator<Item = &'a PlannedStage>) -> String {
    let (stale, fresh): (Vec<_>, Vec<_>) = counted.partition(|stage| stage.status.is_stale());
    let counts = [(fresh.len(), "fresh"), (stale.len(), "stale, but not needed")];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<_> = counts.map(|(count, what)| format!("{count} {what}")).collect();
    format!("{}; --all lists them", counts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_fits() {
        let texts = [0, 1536, 1_048_524, 12 << 20, 3 << 30, u64::MAX].map(size);
        let expected = ["0.0 KiB", "1.5 KiB", "1.0 MiB", "12.0 MiB", "3.0 GiB", "16777216.0 TiB"];
        assert_eq!(texts, expected);
    }
}
