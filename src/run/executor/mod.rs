//! Where jobs are done. To add an executor: a file here with a type that implements [`Executor`], a `mod` line and a line
//! in [`ExecutorKind`].
//!
//! | file | what |
//! |---|---|
//! | [`local`] | workers on this machine |
//! | `process` | a worker's process, and what to make of its end |

pub mod local;
mod process;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use super::message::Message;
use super::order::Orders;
use super::{RunError, machine};
use store::Store;

/// Does jobs.
pub trait Executor {
    /// How many jobs it can do at once, as far as it depends on where they are done.
    fn capacity(&self) -> Capacity;

    /// Starts a job in a slot, with so many threads.
    ///
    /// # Errors
    /// No job can be started.
    fn start(&mut self, job: usize, slot: usize, threads: usize) -> Result<(), RunError>;

    /// The next thing that a started job says, if one speaks in time. The last message of each is
    /// [`Message::Ended`], even if it crashes.
    fn hear(&mut self, patience: Duration) -> Option<(usize, Message)>;

    /// Asks all jobs to stop.
    fn stop(&mut self);
}

/// Where an executor has room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes of memory that are free in each slot, at least one. Jobs share a slot as far as its memory allows.
    pub memory: Vec<u64>,
    /// Whether jobs share one machine's threads, so that it depends on the jobs how many at once are done first;
    /// otherwise one a slot.
    pub shares_threads: bool,
}

/// Declares the kinds of executors, one line a kind: its name for `--executor`, and its type.
macro_rules! executors {
    ($($(#[$meta:meta])* $Kind:ident => $Executor:path),+ $(,)?) => {
        /// What `--executor` chooses from.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
        pub enum ExecutorKind {
            $($(#[$meta])* $Kind,)+
        }

        impl ExecutorKind {
            /// An executor of this kind for the jobs of these orders.
            pub fn build<'a>(
                self,
                orders: Orders<'a>,
                store: &'a Store,
                workers: &'a Workers,
            ) -> Box<dyn Executor + 'a> {
                match self {
                    $(Self::$Kind => Box::new(<$Executor>::new(orders, store, workers)),)+
                }
            }
        }
    };
}

executors! {
    /// Processes on this machine
    #[default]
    Local => local::LocalExecutor,
}

/// How workers are started.
#[derive(Clone, Debug)]
pub struct Workers {
    /// This program.
    pub program: PathBuf,
    /// Arguments that choose numerics: `--precision tf32`.
    pub arguments: Vec<String>,
    /// Where workers run; a job's slot is a position here.
    pub devices: Vec<WorkerDevice>,
}

/// Where a worker runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerDevice {
    /// The processor.
    Cpu,
    /// A GPU, as `CUDA_VISIBLE_DEVICES` names it: the worker sees no other.
    Cuda(String),
}

impl WorkerDevice {
    /// Bytes of its memory that are free; without end if nobody tells.
    pub fn free_memory(&self) -> u64 {
        let free = match self {
            Self::Cpu => machine::memory().map(|(free, _)| free),
            Self::Cuda(name) => machine::gpu_memory(name),
        };
        free.unwrap_or(u64::MAX)
    }
}

/// This program, even if its file is replaced by a newer one meanwhile.
///
/// # Errors
/// The system does not tell.
pub fn this_program() -> std::io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_path_buf()) } else { std::env::current_exe() }
}
