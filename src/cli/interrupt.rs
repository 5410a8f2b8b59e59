//! Ctrl-C, SIGTERM and SIGHUP: a flag that running stages look at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Error;
use crate::error::Exit;

/// From now on the first signal raises the returned flag, so that the running stage stops at its next
/// report; the second ends the program at once. What is in the store is whole in both cases.
///
/// # Errors
/// The system refuses a handler.
pub(super) fn listen() -> Result<Arc<AtomicBool>, Error> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    let handler = move || {
        if raised.swap(true, Ordering::Relaxed) {
            std::process::exit(Exit::Interrupted as i32);
        }
    };
    ctrlc::set_handler(handler).map_err(Error::Signal)?;
    Ok(flag)
}
