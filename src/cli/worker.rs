//! `medmerge worker`: makes stages for `medmerge run`.

use std::io::{BufReader, stdin};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::device::{Graphs, OnDevice};
use super::{Error, Exit, Global, interrupt, log};
use crate::allocator::release_memory;
use crate::run::executor::Workers;
use crate::run::executor::slurm::foreman::{Foreman, Shift, devices};
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
    #[command(flatten)]
    graphs: Graphs,
    /// Take orders from this folder, in an allocation of Slurm
    #[arg(long, value_name = "FOLDER")]
    desk: Option<PathBuf>,
    /// Stages at the same time
    #[arg(long, value_name = "N", default_value_t = 1, requires = "desk")]
    slots: usize,
    /// Seconds to wait for orders
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "desk")]
    idle: u64,
}

impl Worker {
    /// Whether orders come from a folder.
    pub(super) fn is_at_desk(&self) -> bool {
        self.desk.is_some()
    }

    pub(super) fn execute(&self, global: &Global) -> Result<Exit, Error> {
        match &self.desk {
            Some(desk) => self.take_orders(desk, global),
            None => self.obey(global),
        }
    }

    /// Take orders from a desk, and give them to workers of its own.
    fn take_orders(&self, desk: &Path, global: &Global) -> Result<Exit, Error> {
        let stop = interrupt::listen_quietly()?;
        let store = Store::existing(&global.store)?;
        let workers = self.on.workers()?;
        let workers = Workers { devices: devices(self.on.is_gpu(), self.slots), ..self.graphs.of(workers) };
        let shift = Shift::from_environment(workers.devices.len(), Duration::from_secs(self.idle));
        let left = Foreman::new(desk, &store, &workers, shift, &stop)?.work()?;
        Ok(if left.is_stopped() { Exit::Interrupted } else { Exit::Done })
    }

    /// Carry out orders on stdin.
    fn obey(&self, global: &Global) -> Result<Exit, Error> {
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
        let ending = work.as_mut().expect("the device has just been opened").make(order);
        release_memory();
        ending
    }

    fn work<'a>(
        &self,
        global: &Global,
        signals: &'a Signals,
        notify: &'a Notify<'a>,
    ) -> Result<Work<'a>, Error> {
        let store = Store::existing(&global.store)?;
        let (device, numerics) = (self.on.open()?, self.on.numerics());
        Ok(Work::new(store, device, numerics, self.graphs.are_asked_for(), signals, notify))
    }
}
