//! The command line: one file per command.

mod axes;
mod check;
mod completions;
mod cuda_worker;
mod data;
mod device;
mod diff;
mod doctor;
mod entry;
mod experiments;
mod explain;
mod export;
mod found;
mod guide;
mod init;
mod interrupt;
mod log;
mod man;
mod merge;
mod model;
mod new;
mod only;
mod output;
mod plan;
mod predict;
mod report;
mod results;
mod run;
mod schema;
mod settings;
mod show;
mod status;
mod stderr;
mod store;
mod table;
mod version;
mod worker;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::error::{Error, Exit};
use crate::kind::text::visible_lines;
use crate::plan::PlanError;
use crate::store::Store;
use stderr::{has_color, print_line};

/// Declarative experiment pipelines for transferring and merging medical imaging models.
#[derive(Debug, Parser)]
#[command(version, long_version = version::long(), after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

const EXAMPLES: &str = "\
Examples:
  medmerge check experiments/                  report every error in every experiment file
  medmerge plan experiments/quickstart.toml    what would run, and why
  medmerge run experiments/quickstart.toml     run it and print its tables
  medmerge run experiments/quickstart.toml     again: all is fresh, nothing is computed

Exit codes: 0 done; 1 a stage failed; 2 command line or experiment file; 3 data; 4 store or
results folder; 130 interrupted.";

/// The largest number of threads: a thread takes memory, and more than a machine has cores is slower.
const MOST_THREADS: usize = 1024;

/// Options of every command.
#[derive(Debug, Args)]
struct Global {
    /// Folder of the store, for all results of stages
    #[arg(long, global = true, value_name = "DIR", env = "MEDMERGE_STORE", default_value = ".medmerge")]
    store: PathBuf,
    /// Folder for tables and figures, with one folder per experiment
    #[arg(long, global = true, value_name = "DIR", env = "MEDMERGE_RESULTS", default_value = "results")]
    results: PathBuf,
    /// Number of threads, which does not affect results [default: RAYON_NUM_THREADS, or all cores]
    #[arg(long, global = true, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// No progress, no warnings
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// More log lines on stderr; twice: even more (RUST_LOG gives fine control)
    #[arg(long, short, global = true, action = ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    New(new::New),
    Run(run::Run),
    Check(check::Check),
    Plan(plan::Plan),
    Explain(explain::Explain),
    Table(table::Table),
    Report(report::Report),
    Results(found::Results),
    Diff(diff::Diff),
    Show(show::Show),
    Status(status::Status),
    Merge(merge::Merge),
    Predict(predict::Predict),
    Export(export::Export),
    #[command(subcommand)]
    Store(store::Store),
    #[command(subcommand)]
    Data(data::Data),
    Doctor(doctor::Doctor),
    Guide(guide::Guide),
    Schema(schema::Schema),
    Completions(completions::Completions),
    Man(man::Man),
    #[command(hide = true)]
    Worker(worker::Worker),
}

impl Cli {
    /// Run the command; errors go to stderr.
    pub fn execute(self) -> Exit {
        let Self { command, global } = self;
        match &command {
            Command::Worker(worker) if worker.is_at_desk() => log::start_allocation(),
            Command::Worker(_) => log::start_worker(),
            command => log::start(&global, command.logs_json()),
        }
        match global.set_threads().and_then(|()| command.execute(&global)) {
            Ok(exit) => exit,
            Err(error) => {
                let exit = error.exit();
                if exit != Exit::Done {
                    print_error(&error);
                }
                exit
            }
        }
    }
}

/// How this program was built, and what it uses of this processor.
pub(crate) fn built() -> String {
    version::build()
}

/// Print an error to stderr; for experiment files, with the text in question.
fn print_error(error: &Error) {
    print_new(error, &mut BTreeSet::new());
}

/// The same, without what was `printed`: files that include the same part have the same errors in it.
fn print_new(error: &Error, printed: &mut BTreeSet<String>) {
    match error {
        Error::Several(errors) => errors.iter().for_each(|error| print_new(error, printed)),
        Error::Experiment(errors) | Error::Plan(PlanError::Experiment(errors)) => {
            let text = if has_color() { errors.to_ansi() } else { errors.to_string() };
            let new = text.split("\n\n").filter(|one| printed.insert((*one).to_owned()));
            let new: Vec<&str> = new.collect();
            if !new.is_empty() {
                let gap = if new.len() < printed.len() { "\n" } else { "" };
                print_line(format_args!("{gap}{}", new.join("\n\n").trim_end()));
            }
        }
        other => print_line(format_args!("error: {}", visible_lines(&other.to_string()))),
    }
}

impl Command {
    fn logs_json(&self) -> bool {
        matches!(self, Self::Run(run) if run.logs_json())
    }

    fn execute(self, global: &Global) -> Result<Exit, Error> {
        match self {
            Self::Run(run) => return run.execute(global),
            Self::Doctor(doctor) => return doctor.execute(),
            Self::Data(data) => return data.execute(global),
            Self::Worker(worker) => return worker.execute(global),
            Self::Init(init) => init.execute(),
            Self::New(new) => new.execute(),
            Self::Check(check) => check.execute(global),
            Self::Plan(plan) => plan.execute(global),
            Self::Explain(explain) => explain.execute(global),
            Self::Table(table) => table.execute(global),
            Self::Report(report) => report.execute(global),
            Self::Results(results) => results.execute(global),
            Self::Diff(diff) => diff.execute(global),
            Self::Show(show) => show.execute(global),
            Self::Status(status) => status.execute(global),
            Self::Merge(merge) => merge.execute(),
            Self::Predict(predict) => predict.execute(global),
            Self::Export(export) => export.execute(global),
            Self::Store(store) => store.execute(global),
            Self::Guide(guide) => guide.execute(),
            Self::Schema(schema) => schema.execute(),
            Self::Completions(completions) => completions.execute(),
            Self::Man(man) => man.execute(),
        }
        .map(|()| Exit::Done)
    }
}

impl Global {
    fn open_store(&self) -> Result<Store, Error> {
        Ok(Store::open(&self.store)?)
    }

    /// For commands that make nothing: this user may have no permission to write there.
    fn open_store_to_read(&self) -> Result<Store, Error> {
        Ok(Store::open_to_read(&self.store)?)
    }

    /// Start the thread pool: with the requested number of threads, or else RAYON_NUM_THREADS, or else one per core.
    fn set_threads(&self) -> Result<(), Error> {
        let threads = self.threads.map_or(0, NonZeroUsize::get);
        if threads > MOST_THREADS {
            return Err(Error::Usage(format!(
                "`--threads {threads}` is more than {MOST_THREADS}; leave it out for all cores"
            )));
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global().map_err(|error| Error::Usage(format!("failed to start threads: {error}")))
    }
}
