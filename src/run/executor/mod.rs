//! Where jobs run. To add an executor, add a file with a type that implements [`Executor`], a `mod` line, and a line in
//! [`ExecutorKind`].
//!
//! | file | what |
//! |---|---|
//! | [`local`] | workers on this machine |
//! | `process` | a worker process: messages, and how its exit is interpreted |

pub mod local;
mod process;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use super::message::Message;
use super::order::Orders;
use super::{RunError, machine};
use store::Store;

/// Runs jobs.
pub trait Executor {
    /// The capacity of the place where jobs run.
    fn capacity(&self) -> Capacity;

    /// Start a job in a slot with this number of threads.
    ///
    /// # Errors
    /// Jobs cannot be started at all.
    fn start(&mut self, job: usize, slot: usize, threads: usize) -> Result<(), RunError>;

    /// The next message from a running job, if one arrives before the timeout. The last message of each job is
    /// [`Message::Ended`], even if it crashes.
    fn receive(&mut self, timeout: Duration) -> Option<(usize, Message)>;

    /// Ask all jobs to stop.
    fn stop(&mut self);
}

/// Capacity of an executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Free memory of each slot in bytes; at least one slot. Jobs share a slot if its memory suffices.
    pub memory: Vec<u64>,
    /// Whether jobs share the threads of one machine. If so, the best number of parallel jobs depends on the jobs;
    /// otherwise it is one per slot.
    pub shares_threads: bool,
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
            /// Make an executor of this kind for the jobs of these orders.
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

/// How to start workers.
#[derive(Clone, Debug)]
pub struct Workers {
    /// Path of this program.
    pub program: PathBuf,
    /// Arguments that select the numerics: `--precision tf32`.
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
