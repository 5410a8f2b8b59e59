//! `medmerge worker`: what `medmerge run` starts to make stages.

use std::io::{BufReader, stdin};
use std::sync::Arc;

use clap::Args;

use super::device::OnDevice;
use super::{Error, Exit, Global, interrupt, log};
use crate::run::message::{Ending, Order};
use crate::run::serve::{receive, serve};
use crate::run::signals::Signals;
use crate::run::worker::{Tell, Worker as Work};
use crate::store::Store;

/// Make stages, as the orders on stdin say; for `medmerge run`, which starts it
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
        let tell = |message| {
            // A run that is gone finds what was made in the store.
            if log::tell(&message).is_err() {
                signals.stop();
            }
        };
        let mut work = None;
        let make = |order: &Order| self.make(&mut work, order, global, &signals, &tell);
        serve(&orders, &signals, &tell, make).map_err(|error| {
            Error::Usage(format!(
                "failed to read an order from stdin: {error}; `medmerge run` starts workers"
            ))
        })?;
        Ok(Exit::Done)
    }

    /// The device is opened for the first order, whose run hears if it cannot be.
    fn make<'a>(
        &self,
        work: &mut Option<Work<'a>>,
        order: &Order,
        global: &Global,
        signals: &'a Signals,
        tell: &'a Tell<'a>,
    ) -> Ending {
        if work.is_none() {
            match self.work(global, signals, tell) {
                Ok(ready) => *work = Some(ready),
                Err(error) => return Ending::Stopped(error.to_string()),
            }
        }
        work.as_mut().expect("it is ready").make(order)
    }

    fn work<'a>(&self, global: &Global, signals: &'a Signals, tell: &'a Tell<'a>) -> Result<Work<'a>, Error> {
        let store = Store::existing(&global.store)?;
        Ok(Work::new(store, self.on.open()?, self.on.numerics(), signals, tell))
    }
}
