//! `medmerge run`.

use std::io::{IsTerminal, stderr};
use std::num::NonZeroUsize;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::device::OnDevice;
use super::experiments::{Files, every, stages_named};
use super::interrupt;
use super::only::Only;
use super::results::{Format, write_and_print};
use super::{Error, Exit, Global};
use crate::experiment::Experiment;
use crate::plan::{Plan, PlanError};
use crate::run::reporter::{Bars, Json, Plain};
use crate::run::{ExecutorKind, Options, Outcome, Reporter, run, set_aside_damaged};
use crate::store::Store;

/// Make everything that an experiment needs and that the store lacks; write its tables and figures
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge run experiments/quickstart.toml
  medmerge run experiments/                            every .toml in the folder
  medmerge run experiments/main.toml --jobs 4          at most four stages at once
  medmerge run experiments/main.toml --device cuda:1   on the second GPU (`medmerge doctor` examines it)
  medmerge run experiments/main.toml --device cuda:0,1 on two GPUs, a stage on each
  medmerge run experiments/main.toml --rerun merged    make `merged` again even if it is there
  medmerge run experiments/main.toml --only 'final[seed=0]'
                                                       just this stage and what it needs
  medmerge run experiments/main.toml --set 'sweep.seed=[0]' --set train.epochs=1 \\
      --set experiment.name=trial                      a quick trial, with results of its own

Stages are made by processes of their own, workers. A stage that fails loses what depends on it; the rest goes
on. After Ctrl-C or a crash, run the same command again: stages that finished are kept, and a training
goes on where it stopped, with the same result. `medmerge status` says from another terminal how far a
run is.
The last line on stderr is `executed E, fresh F, failed X, skipped S in T s`.")]
pub(super) struct Run {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    only: Only,
    /// Start nothing any more after a stage failed
    #[arg(long)]
    fail_fast: bool,
    /// Make this stage (named as for --only) even if the store has it; may be repeated
    #[arg(long, value_name = "STAGE")]
    rerun: Vec<String>,
    /// Stages at once, which share the threads [default: what finishes soonest; on GPUs, one on each]
    #[arg(long, short, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    #[command(flatten)]
    on: OnDevice,
    /// Where stages are made
    #[arg(long, value_enum, default_value_t = ExecutorKind::default(), value_name = "EXECUTOR")]
    executor: ExecutorKind,
    /// How progress is shown on stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Auto, value_name = "FORMAT")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// Bars on a terminal, else plain lines
    Auto,
    /// Bars, which need a terminal
    Bars,
    /// A line when a stage starts and ends, and now and then between
    Plain,
    /// Each event as a JSON object on a line of its own
    Json,
}

impl Run {
    pub(super) fn execute(&self, global: &Global) -> Result<Exit, Error> {
        let experiments = self.files.load()?;
        let store = global.open_store()?;
        let plans = every(experiments.iter().map(|experiment| self.plan(experiment, &store)))?;
        self.only.check(&plans)?;
        self.check_rerun(&plans)?;
        let options = self.options()?;
        let mut reporter = self.reporter(global);
        let mut total = Outcome::default();
        for mut plan in plans.into_iter().filter(|plan| self.only.concerns(plan)) {
            if total.executed > 0 {
                // The plans before it may have made what it needs.
                plan = match self.plan(&plan.experiment, &store) {
                    // What reads the missing data fails, and nothing else.
                    Err(Error::Plan(PlanError::Data(_))) => plan,
                    newer => newer?,
                };
            }
            total += run(&plan, &store, &options, &mut reporter)?;
            if total.interrupted {
                break;
            }
            write_and_print(&plan, &store, &self.only, Format::default(), global)?;
            if self.fail_fast && !total.failed.is_empty() {
                break;
            }
        }
        Ok(self.conclude(&total))
    }

    fn options(&self) -> Result<Options, Error> {
        Ok(Options {
            executor: self.executor,
            workers: self.on.workers()?,
            threads: rayon::current_num_threads(),
            jobs: self.jobs.map(NonZeroUsize::get),
            fail_fast: self.fail_fast,
            interrupt: interrupt::listen()?,
        })
    }

    /// A plan none of whose entries to be read is damaged.
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
    /// No plan has a stage that `--rerun` names, or `--only` leaves it out.
    fn check_rerun(&self, plans: &[Plan]) -> Result<(), Error> {
        for name in &self.rerun {
            let searches = plans.iter().map(|plan| stages_named(plan, name));
            let mut errors: Vec<_> = searches.filter_map(Result::err).collect();
            if errors.len() == plans.len() {
                return Err(errors.remove(0));
            }
            if !plans.iter().any(|plan| reaches(plan, name)) {
                let message = format!("failed to run {name:?} again: nothing that --only names needs it");
                return Err(Error::Usage(message));
            }
        }
        Ok(())
    }

    fn reporter(&self, global: &Global) -> Vec<Box<dyn Reporter>> {
        let reporter: Box<dyn Reporter> = match self.log_format {
            _ if global.quiet => return Vec::new(),
            LogFormat::Json => Box::new(Json::new(stderr())),
            LogFormat::Bars => Box::new(Bars::new()),
            LogFormat::Auto if stderr().is_terminal() => Box::new(Bars::new()),
            LogFormat::Auto | LogFormat::Plain => Box::new(Plain::new(stderr())),
        };
        vec![reporter]
    }

    /// Whether stderr is for programs.
    pub(super) fn logs_json(&self) -> bool {
        matches!(self.log_format, LogFormat::Json)
    }

    /// Says on stderr how it all ended.
    fn conclude(&self, total: &Outcome) -> Exit {
        if !self.logs_json() {
            tell_what_is_missing(total);
        }
        eprintln!("{total}");
        match total {
            Outcome { interrupted: true, .. } => Exit::Interrupted,
            Outcome { failed, .. } if !failed.is_empty() => Exit::StageFailed,
            _ => Exit::Done,
        }
    }
}

/// Whether a plan may run one of the stages that a name means.
fn reaches(plan: &Plan, name: &str) -> bool {
    let reached = plan.reached();
    plan.called(name).iter().any(|node| reached.contains(node))
}

fn tell_what_is_missing(total: &Outcome) {
    for (stage, message) in &total.failed {
        eprintln!("failed: {stage}: {message}");
    }
    if total.interrupted {
        eprintln!("interrupted: nothing is lost; to go on, give the same command again");
    }
}
