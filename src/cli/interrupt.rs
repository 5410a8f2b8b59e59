//! Ctrl-C, SIGTERM and SIGHUP: a flag that running stages check.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Error;
use crate::error::Exit;
use crate::run::reporter::erase_bars;
use crate::run::signals::Signals;

/// Install signal handlers. The first signal sets the returned flag, so that the running stage stops at its next
/// report; the second ends the program immediately. The store stays intact in both cases.
///
/// # Errors
/// The handler cannot be installed.
pub(super) fn listen() -> Result<Arc<AtomicBool>, Error> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    let handler = move || {
        if raised.swap(true, Ordering::Relaxed) {
            erase_bars();
            std::process::exit(Exit::Interrupted as i32);
        }
    };
    ctrlc::set_handler(handler).map_err(Error::Signal)?;
    Ok(flag)
}

/// Install signal handlers that set the returned flag, however many signals there are.
///
/// # Errors
/// The handler cannot be installed.
pub(super) fn listen_quietly() -> Result<Arc<AtomicBool>, Error> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    ctrlc::set_handler(move || raised.store(true, Ordering::Relaxed)).map_err(Error::Signal)?;
    Ok(flag)
}

/// Install signal handlers in a worker. The first signal ends the process after the current stage has stopped at a point
/// from which it can be resumed; the second ends it immediately.
///
/// # Errors
/// The handler cannot be installed.
pub(super) fn end_with(signals: &Arc<Signals>) -> Result<(), Error> {
    let signals = Arc::clone(signals);
    let handler = move || {
        if signals.terminate() {
            std::process::exit(Exit::Interrupted as i32);
        }
    };
    ctrlc::set_handler(handler).map_err(Error::Signal)
}
