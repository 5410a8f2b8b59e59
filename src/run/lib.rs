//! Running: from a plan to events, and to entries of the store.
//!
//! | file | what |
//! |---|---|
//! | [`queue`] | which job may start next, where, beside how many; pure |
//! | [`scheduler`] | the loop: starts jobs, hears what they say, tells reporters |
//! | [`executor`] | where jobs are done: workers on this machine |
//! | [`order`] | from a plan to orders, each complete in itself |
//! | [`message`] | what a run and its workers say to each other |
//! | [`serve`] | in a worker: one order after the other |
//! | [`worker`] | in a worker: makes an order's entry |
//! | [`signals`] | in a worker: what asks it to stop |
//! | [`machine`] | threads and memory of this machine |
//! | [`event`] | everything that happens in a run |
//! | [`reporter`] | who draws or writes events |
//! | `speeds` | how fast stages were, for later plans |
//! | `work` | the whole: from a plan to its outcome |
//! | [`folder`] | `runs/<time>-<experiment>/` in the store |
//! | [`status`] | what the record of a run says of it, while it goes on or later |

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
pub use work::{Options, run, set_aside_damaged};
