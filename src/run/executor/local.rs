//! Jobs on this machine.

use std::time::Duration;

use super::super::RunError;
use super::super::message::Message;
use super::pool::Pool;
use super::{Capacity, Executor, Parallel, Started, Work, WorkerDevice, Workers};

/// Runs jobs in processes of this program.
pub struct LocalExecutor<'a> {
    work: Work<'a>,
    workers: &'a Workers,
    pool: Pool<'a>,
}

impl<'a> LocalExecutor<'a> {
    /// An executor for this work.
    ///
    /// # Errors
    /// None: the signature is that of every executor.
    pub fn new(work: Work<'a>) -> Result<Self, RunError> {
        let (store, workers) = (work.store, work.workers);
        Ok(Self { work, workers, pool: Pool::new(store, workers) })
    }
}

impl Executor for LocalExecutor<'_> {
    fn capacity(&self) -> Capacity {
        let devices = &self.workers.devices;
        let shared = matches!(devices[..], [WorkerDevice::Cpu]);
        Capacity {
            memory: devices.iter().map(WorkerDevice::free_memory).collect(),
            parallel: if shared { Parallel::SharedThreads } else { Parallel::OnePerSlot },
        }
    }

    fn start(&mut self, job: usize, slot: usize, threads: usize) -> Result<Started, RunError> {
        let order = self.work.orders.order(job, threads);
        let failed = |source| RunError::Start { stage: self.work.jobs[job].id.clone(), source };
        self.pool.start(job, slot, order).map_err(failed)?;
        Ok(Started::Now)
    }

    fn receive(&mut self, timeout: Duration) -> Result<Option<(usize, Message)>, RunError> {
        Ok(self.pool.receive(timeout))
    }

    fn stop(&mut self) {
        self.pool.stop();
    }
}
