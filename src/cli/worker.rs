//! `medmerge worker`: what `medmerge run` starts for each stage.

use std::io::{BufRead, Read, stdin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use clap::Args;

use super::device::OnDevice;
use super::{Error, Exit, Global, log};
use crate::cli::interrupt;
use crate::experiment::Experiment;
use crate::plan::Plan;
use crate::run::message::{Ending, Message, Order};
use crate::run::worker::Worker as Work;
use crate::store::Store;

/// Make one stage, as the order on stdin says; for `medmerge run`, which starts it
#[derive(Debug, Args)]
pub(super) struct Worker {
    #[command(flatten)]
    on: OnDevice,
}

impl Worker {
    pub(super) fn execute(&self, global: &Global) -> Result<Exit, Error> {
        let mut line = String::new();
        stdin().lock().read_line(&mut line)?;
        let order: Order = serde_json::from_str(&line).map_err(|error| {
            Error::Usage(format!(
                "failed to read an order from stdin: {error}; `medmerge run` starts workers"
            ))
        })?;
        let interrupt = interrupt::listen()?;
        stop_with_stdin(&interrupt);
        let ending =
            self.work(order, global, &interrupt).unwrap_or_else(|error| Ending::Stopped(error.to_string()));
        // A run that is gone finds the entry in the store.
        let _ = log::tell(&Message::Ended(ending));
        Ok(Exit::Done)
    }

    fn work(&self, order: Order, global: &Global, interrupt: &AtomicBool) -> Result<Ending, Error> {
        let store = Store::existing(&global.store)?;
        let device = self.on.open()?;
        let Order { source, stage, fingerprint, anew } = order;
        let experiment = Arc::new(Experiment::parse(source)?);
        let plan = Plan::unjudged(experiment, &store, self.on.numerics())?;
        let planned = plan.graph.node_weights().find(|planned| planned.id == stage);
        let Some(stage) = planned.filter(|planned| planned.fingerprint == fingerprint) else {
            return Ok(Ending::Failed("its data or files changed while the run went on; run again".into()));
        };
        let tell = |message| {
            if log::tell(&message).is_err() {
                interrupt.store(true, Ordering::Relaxed);
            }
        };
        Ok(Work { plan: &plan, stage, anew, store: &store, device, interrupt, tell: &tell }.work())
    }
}

/// Raises the flag when stdin ends: the run asks to stop, or is gone.
fn stop_with_stdin(interrupt: &Arc<AtomicBool>) {
    let raised = Arc::clone(interrupt);
    thread::spawn(move || {
        let _ = stdin().lock().read_to_end(&mut Vec::new());
        raised.store(true, Ordering::Relaxed);
    });
}
