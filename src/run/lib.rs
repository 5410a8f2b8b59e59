//! Running a plan: stages are made by worker processes, which write entries of the store; progress is reported as events.
//!
//! | file | what |
//! |---|---|
//! | [`queue`] | which job starts next, on which device, and how many run in parallel; pure |
//! | [`scheduler`] | the main loop: starts jobs, handles their messages, reports events |
//! | [`executor`] | where jobs run: this machine, or a Slurm cluster |
//! | [`order`] | converts planned stages to self-contained orders |
//! | [`message`] | the protocol between a run and its workers |
//! | [`serve`] | worker side: the loop over orders |
//! | [`worker`] | worker side: makes the entry of one order |
//! | [`signals`] | worker side: requests to stop |
//! | [`machine`] | memory of this machine and its GPUs |
//! | [`event`] | events of a run |
//! | [`reporter`] | how events are displayed or written |
//! | `speeds` | measures the speed of stages, for estimates of later plans |
//! | `work` | entry point: runs a plan and returns its outcome |
//! | [`folder`] | `runs/<time>-<experiment>/` in the store |
//! | [`status`] | state of a current or earlier run, read from its events |

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic if the stream is closed")]

mod error;
pub mod event;
pub mod executor;
pub mod folder;
pub mod machine;
pub mod message;
pub mod order;
pub mod queue;
pub mod reporter;
pub mod scheduler;
pub mod serve;
pub mod signals;
mod speeds;
pub mod status;
mod utc;
mod work;
pub mod worker;

pub use error::RunError;
pub use event::Event;
pub use executor::{Executor, ExecutorKind};
pub use reporter::Reporter;
pub use scheduler::Outcome;
pub use utc::utc;
pub use work::{Options, jobs_of, run, set_aside_damaged};
