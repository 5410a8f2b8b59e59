//! `medmerge worker`: makes stages for `medmerge run`.

use std::io::{BufReader, stdin};
use std::sync::Arc;

use clap::Args;

use super::device::OnDevice;
use super::{Error, Exit, Global, interrupt, log};
use crate::run::message::{Ending, Order};
use crate::run::serve::{receive, serve};
use crate::run::signals::Signals;
use crate::run::worker::{Notify, Worker as Work};
use crate::store::Store;

/// Make stages according to orders on stdin; started by `medmerge run`
#[derive(Debug, Args)]
pub(super) struct Worker {
    #[command(flatten)]
    on: OnDevice,
}

impl Worker {
    pub(super) fn execute(&self, global: &Global) -> Result<Exit, Error> {
        let signals = Arc::new(Signals::default());
        interrupt::end_with(&signals)?;
        let orders = receive(BufReader::new(stdin()), &signals);
        let notify = |message| {
            // The run has ended. A later one can resume the stage.
            if log::send(&message).is_err() {
                signals.stop();
            }
        };
        let mut work = None;
        let make = |order: &Order| self.make(&mut work, order, global, &signals, &notify);
        serve(&orders, &signals, &notify, make).map_err(|error| {
            Error::Usage(format!(
                "failed to read an order from stdin: {error}; `medmerge run` starts workers"
            ))
        })?;
        Ok(Exit::Done)
    }

    /// Make a stage. The device is opened for the first order, so that an error is reported to the run.
    fn make<'a>(
        &self,
        work: &mut Option<Work<'a>>,
        order: &Order,
        global: &Global,
        signals: &'a Signals,
        notify: &'a Notify<'a>,
    ) -> Ending {
        if work.is_none() {
            match self.work(global, signals, notify) {
                Ok(ready) => *work = Some(ready),
                Err(error) => return Ending::Fatal(error.to_string()),
            }
        }
        work.as_mut().expect("the device has just been opened").make(order)
    }

    fn work<'a>(
        &self,
        global: &Global,
        signals: &'a Signals,
        notify: &'a Notify<'a>,
    ) -> Result<Work<'a>, Error> {
        let store = Store::existing(&global.store)?;
        Ok(Work::new(store, self.on.open()?, self.on.numerics(), signals, notify))
    }
}
