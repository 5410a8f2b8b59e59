//! `medmerge run`.

use std::io::{IsTerminal, stderr};
use std::num::NonZeroUsize;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::device::{Graphs, OnDevice};
use super::experiments::{Files, every, stages_named, warn};
use super::interrupt;
use super::only::Only;
use super::results::{Extra, Format, write_and_print};
use super::settings;
use super::stderr::{has_color, print_line};
use super::{Error, Exit, Global, print_error};
use crate::experiment::Experiment;
use crate::kind::text::{visible, visible_lines};
use crate::plan::{Plan, PlanError};
use crate::run::executor::slurm::Settings;
use crate::run::reporter::{Bars, Json, Plain};
use crate::run::{ExecutorKind, Options, Outcome, Reporter, run, set_aside_damaged};
use crate::store::Store;
use crate::table::check_writable;

/// Run the stages of an experiment that the store lacks; write its tables and figures
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge run experiments/quickstart.toml
  medmerge run experiments/                            every .toml in the folder
  medmerge run experiments/main.toml --jobs 4          at most four stages in parallel
  medmerge run experiments/main.toml --device cuda:1   on the second GPU (`medmerge doctor` checks it)
  medmerge run experiments/main.toml --device cuda:0,1 on two GPUs, one stage on each
  medmerge run experiments/main.toml --executor slurm  on a Slurm cluster (`medmerge guide slurm`)
  medmerge run experiments/main.toml --rerun merged    run `merged` again even if it is in the store
  medmerge run experiments/main.toml --only 'final[seed=0]'
                                                       only this stage and what it needs
  medmerge run experiments/main.toml --set 'sweep.seed=[0]' --set train.epochs=1 \\
      --set experiment.name=trial                      a quick trial with separate results

Stages run in worker processes. If a stage fails, only stages that depend on it are skipped. After Ctrl-C or
a crash, run the same command again: finished stages are kept, and training resumes where it stopped, with
the same result. `medmerge status` shows the progress of a run in another terminal.
The last line on stderr is `executed E, fresh F, failed X, skipped S in T s`.")]
pub(super) struct Run {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    only: Only,
    /// Stop starting stages after the first failure
    #[arg(long)]
    fail_fast: bool,
    /// Run this stage (named as for --only) even if the store has it; may be repeated
    #[arg(long, value_name = "STAGE")]
    rerun: Vec<String>,
    /// Maximum number of parallel stages, which share the threads [default: what finishes soonest; one per GPU]
    #[arg(long, short, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    #[command(flatten)]
    extra: Extra,
    #[command(flatten)]
    on: OnDevice,
    #[command(flatten)]
    graphs: Graphs,
    /// Where stages run
    #[arg(long, value_enum, default_value_t = ExecutorKind::default(), value_name = "EXECUTOR")]
    executor: ExecutorKind,
    /// Hand stages to Slurm and leave; the same command without --detach follows them and writes tables
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    slurm: Settings,
    /// How progress is shown on stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Auto, value_name = "FORMAT")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// Progress bars on a terminal, plain lines otherwise
    Auto,
    /// Progress bars, which need a terminal
    Bars,
    /// A line when a stage starts or ends, and progress at intervals
    Plain,
    /// One JSON object per event and line
    Json,
}

impl Run {
    pub(super) fn execute(&self, global: &Global) -> Result<Exit, Error> {
        let experiments = self.files.load()?;
        let store = global.open_store()?;
        let plans = every(experiments.iter().map(|experiment| self.plan(experiment, &store)))?;
        warn(&plans);
        self.only.check(&plans)?;
        self.check_rerun(&plans)?;
        if !self.detach {
            let mut plans = plans.iter().filter(|plan| self.only.concerns(plan));
            plans.try_for_each(|plan| check_writable(&global.results, &plan.experiment.name))?;
        }
        let options = self.options()?;
        let mut total = Outcome::default();
        let failed = self.run_all(plans, &store, &options, global, &mut total).err();
        let failed = failed.filter(|error| error.exit() != Exit::Done);
        failed.iter().for_each(print_error);
        let exit = self.conclude(&total);
        Ok(failed.map_or(exit, |error| error.exit()))
    }

    /// Run one plan after the other and write their results.
    fn run_all(
        &self,
        plans: Vec<Plan>,
        store: &Store,
        options: &Options,
        global: &Global,
        total: &mut Outcome,
    ) -> Result<(), Error> {
        let mut reporter = self.reporter(global);
        for mut plan in plans.into_iter().filter(|plan| self.only.concerns(plan)) {
            if total.executed > 0 {
                // Earlier plans may have made what it needs.
                plan = match self.plan(&plan.experiment, store) {
                    // What reads the missing data fails, and nothing else.
                    Err(Error::Plan(PlanError::Data(_))) => plan,
                    newer => newer?,
                };
            }
            *total += run(&plan, store, options, &mut reporter)?;
            if total.interrupted {
                break;
            }
            if self.detach {
                continue;
            }
            match write_and_print(&plan, store, &self.only, Format::default(), self.extra, global) {
                // Nobody reads the tables, which are also in files. The run goes on.
                Err(error) if error.is_closed_stdout() => {}
                written => written?,
            }
            if self.fail_fast && !total.failed.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn options(&self) -> Result<Options, Error> {
        if self.detach && self.executor != ExecutorKind::Slurm {
            return Err(Error::Usage("--detach leaves stages to Slurm; add --executor slurm".into()));
        }
        let slurm = settings::slurm(self.executor, &self.slurm, self.jobs)?;
        let threads = slurm.as_ref().map_or_else(rayon::current_num_threads, Settings::threads);
        Ok(Options {
            executor: self.executor,
            workers: self.graphs.of(self.on.workers()?),
            threads,
            jobs: self.jobs.map(NonZeroUsize::get),
            slurm: slurm.unwrap_or_default(),
            detach: self.detach,
            fail_fast: self.fail_fast,
            interrupt: interrupt::listen()?,
        })
    }

    /// Make a plan; damaged entries that it would read are set aside first.
    fn plan(&self, experiment: &Arc<Experiment>, store: &Store) -> Result<Plan, Error> {
        loop {
            let mut plan = Plan::new(Arc::clone(experiment), store, self.on.numerics())?;
            self.only.restrict(&mut plan);
            for name in &self.rerun {
                plan.ask(name);
            }
            if set_aside_damaged(&plan, store)? == 0 {
                return Ok(plan);
            }
        }
    }

    /// # Errors
    /// No plan has a stage named by `--rerun`, or `--only` excludes it.
    fn check_rerun(&self, plans: &[Plan]) -> Result<(), Error> {
        for name in &self.rerun {
            let searches = plans.iter().map(|plan| stages_named(plan, name));
            let mut errors: Vec<_> = searches.filter_map(Result::err).collect();
            if errors.len() == plans.len() {
                return Err(errors.remove(0));
            }
            if !plans.iter().any(|plan| reaches(plan, name)) {
                let message = format!("failed to run {name:?} again: --only excludes it");
                return Err(Error::Usage(message));
            }
        }
        Ok(())
    }

    fn reporter(&self, global: &Global) -> Vec<Box<dyn Reporter>> {
        let reporter: Box<dyn Reporter> = match self.log_format {
            _ if global.quiet => return Vec::new(),
            LogFormat::Json => Box::new(Json::new(stderr())),
            LogFormat::Bars => Box::new(Bars::new(has_color())),
            LogFormat::Auto if stderr().is_terminal() => Box::new(Bars::new(has_color())),
            LogFormat::Auto | LogFormat::Plain => Box::new(Plain::new(stderr())),
        };
        vec![reporter]
    }

    /// Whether stderr is JSON.
    pub(super) fn logs_json(&self) -> bool {
        matches!(self.log_format, LogFormat::Json)
    }

    /// Print the outcome to stderr.
    fn conclude(&self, total: &Outcome) -> Exit {
        if !self.logs_json() {
            print_failures(total);
        }
        if total.detached > 0 {
            let stages = total.detached;
            print_line(format_args!(
                "left to Slurm: {stages} stages; to follow them, repeat the command without --detach"
            ));
        }
        print_line(total);
        match total {
            Outcome { interrupted: true, .. } => Exit::Interrupted,
            Outcome { failed, .. } if !failed.is_empty() => Exit::StageFailed,
            _ => Exit::Done,
        }
    }
}

/// Whether a plan includes one of the stages with this name.
fn reaches(plan: &Plan, name: &str) -> bool {
    let reached = plan.reached();
    plan.called(name).iter().any(|node| reached.contains(node))
}

fn print_failures(total: &Outcome) {
    for (stage, message) in &total.failed {
        print_line(format_args!("failed: {}: {}", visible(stage), visible_lines(message)));
    }
    match total {
        Outcome { interrupted: true, .. } => print_line("interrupted; to resume, repeat the command"),
        Outcome { failed, .. } if failed.is_empty() => {}
        _ => print_line("finished stages are kept; to make the others, repeat the command"),
    }
}
