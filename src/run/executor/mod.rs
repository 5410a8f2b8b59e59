//! Where jobs run. To add an executor, add a file with a type that implements [`Executor`], a `mod` line, and a line in
//! [`ExecutorKind`].
//!
//! | file | what |
//! |---|---|
//! | [`local`] | on this machine |
//! | [`slurm`] | in allocations of a Slurm cluster |
//! | [`pool`] | worker processes of one machine |
//! | `process` | a worker process: messages, and how its exit is interpreted |

pub mod local;
pub mod pool;
mod process;
pub mod slurm;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use super::message::Message;
use super::order::Orders;
use super::scheduler::Job;
use super::{RunError, machine};
use store::Store;

/// Runs jobs.
pub trait Executor {
    /// The capacity of the place where jobs run.
    fn capacity(&self) -> Capacity;

    /// Start a job, whose inputs are in the store, in a slot with this number of threads.
    ///
    /// # Errors
    /// Jobs cannot be started at all.
    fn start(&mut self, job: usize, slot: usize, threads: usize) -> Result<Started, RunError>;

    /// The next message from a running job, if one arrives before the timeout. The last message of each job is
    /// [`Message::Ended`], even if it crashes.
    ///
    /// # Errors
    /// Jobs cannot be run any longer. Messages go on until each has ended.
    fn receive(&mut self, timeout: Duration) -> Result<Option<(usize, Message)>, RunError>;

    /// Ask all jobs to stop.
    fn stop(&mut self);

    /// What happened to the place where jobs run, for the user.
    fn news(&mut self) -> Option<String> {
        None
    }

    /// Leave the jobs to themselves: they go on without this process.
    ///
    /// # Errors
    /// They cannot, or cannot be started.
    fn detach(&mut self) -> Result<(), RunError> {
        Err(RunError::Refused("only stages on Slurm go on by themselves; omit --detach".into()))
    }

    /// A job that has not started is not needed.
    fn skip(&mut self, job: usize) {
        let _ = job;
    }
}

/// Whether a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It does.
    Now,
    /// It waits for its turn; [`Message::Started`] says when it runs.
    Queued,
}

/// Capacity of an executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Free memory of each slot in bytes; at least one slot. Jobs share a slot if its memory suffices.
    pub memory: Vec<u64>,
    /// How many jobs run in parallel, unless the user says so.
    pub parallel: Parallel,
}

/// The number of parallel jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parallel {
    /// Jobs share the threads of one machine: the best number depends on them.
    SharedThreads,
    /// One per slot.
    OnePerSlot,
    /// Every job that is ready is started, with this number of threads; the executor queues them.
    Queued {
        /// Threads of a job.
        threads: usize,
    },
}

/// What an executor is to run.
pub struct Work<'a> {
    /// The experiment's name.
    pub name: &'a str,
    /// The jobs, inputs before users.
    pub jobs: &'a [Job],
    /// Their orders.
    pub orders: Orders<'a>,
    /// Where entries are written.
    pub store: &'a Store,
    /// How to start workers.
    pub workers: &'a Workers,
    /// Settings of the Slurm executor.
    pub slurm: &'a slurm::Settings,
}

/// Declares the kinds of executors, one per line: the name for `--executor`, and the type.
macro_rules! executors {
    ($($(#[$meta:meta])* $Kind:ident => $Executor:path),+ $(,)?) => {
        /// The value of `--executor`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
        pub enum ExecutorKind {
            $($(#[$meta])* $Kind,)+
        }

        impl ExecutorKind {
            /// Make an executor of this kind.
            ///
            /// # Errors
            /// It cannot run anything.
            pub fn build<'a>(self, work: Work<'a>) -> Result<Box<dyn Executor + 'a>, RunError> {
                match self {
                    $(Self::$Kind => Ok(Box::new(<$Executor>::new(work)?)),)+
                }
            }
        }
    };
}

executors! {
    /// Processes on this machine
    #[default]
    Local => local::LocalExecutor,
    /// Allocations of a Slurm cluster, which share the store's folder
    Slurm => slurm::SlurmExecutor,
}

/// How to start workers.
#[derive(Clone, Debug)]
pub struct Workers {
    /// Path of this program.
    pub program: PathBuf,
    /// Arguments for how to compute: `--precision tf32`, `--graphs`.
    pub arguments: Vec<String>,
    /// Devices of workers; a job's slot is an index into this list.
    pub devices: Vec<WorkerDevice>,
}

/// Device of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerDevice {
    /// The CPU.
    Cpu,
    /// A GPU, named as in `CUDA_VISIBLE_DEVICES`; the only one visible to the worker.
    Cuda(String),
}

impl WorkerDevice {
    /// Free memory in bytes; `u64::MAX` if unknown.
    pub fn free_memory(&self) -> u64 {
        let free = match self {
            Self::Cpu => machine::memory().map(|(free, _)| free),
            Self::Cuda(name) => machine::gpu_memory(name),
        };
        free.unwrap_or(u64::MAX)
    }
}

/// Path of this program that stays valid if a newer version replaces its file.
///
/// # Errors
/// The system does not provide it.
pub fn this_program() -> std::io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_path_buf()) } else { std::env::current_exe() }
}
