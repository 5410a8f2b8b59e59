//! Running: from a plan to events, and to entries of the store.
//!
//! | file | what |
//! |---|---|
//! | [`queue`] | which job may start next; pure |
//! | [`scheduler`] | the loop: takes ready jobs, hands them to an executor, tells reporters |
//! | [`executor`] | makes a stage's entry in this process |
//! | [`load`] | a stage's inputs and data sets, from the store and the data's files |
//! | [`event`] | everything that happens in a run |
//! | [`reporter`] | who draws or writes events |
//! | [`folder`] | `runs/<time>-<experiment>/` in the store |
//! | [`interrupt`] | Ctrl-C |
//! | [`collect`] | from the store's predictions to scores |

pub mod collect;
mod error;
pub mod event;
pub mod executor;
pub mod folder;
pub mod interrupt;
pub mod load;
pub mod queue;
pub mod reporter;
pub mod scheduler;
mod utc;
mod work;

pub use error::RunError;
pub use event::Event;
pub use reporter::Reporter;
pub use scheduler::Outcome;
pub use utc::utc;
pub use work::{Options, run, set_aside_damaged};
