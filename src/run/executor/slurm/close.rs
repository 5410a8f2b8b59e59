//! How a run ends: by itself, or stopped.

use std::time::{Duration, Instant};

use super::desk::{self, Left, Note};
use super::queue::Allocations;
use super::{LEAVE, NOTICE, READ, SlurmExecutor, Status};
use crate::RunError;
use crate::message::{Ending, Message};

impl SlurmExecutor<'_> {
    /// The run was stopped: wait until workers have left, look whether their jobs are gone, and end what is awaited.
    pub(super) fn wait_for_stop(&mut self) -> Result<(), RunError> {
        let is_over = self.stopping.as_ref().is_none_or(|stopping| Instant::now() > stopping.until);
        let taken = self.orders.values().any(|status| matches!(status, Status::Taken(_)));
        if taken && !is_over {
            return Ok(());
        }
        self.end_awaited();
        Ok(())
    }

    /// End the jobs that the scheduler waits for.
    pub(super) fn end_awaited(&mut self) {
        for job in std::mem::take(&mut self.awaited) {
            self.inbox.push_back((job, Message::Ended(Ending::Interrupted)));
        }
    }

    /// Look whether cancelled jobs are gone, and say which are not.
    fn verify_cancelled(&mut self) {
        let until = Instant::now() + LEAVE;
        let mut pause = Duration::from_millis(500);
        loop {
            match self.allocations.remaining() {
                Some(remaining) if remaining.is_empty() => return,
                Some(remaining) if Instant::now() > until => {
                    let text = format!("still in the queue: scancel {}", remaining.join(" "));
                    return self.allocations.news.push(text);
                }
                None => {
                    let text =
                        format!("whether jobs are gone is unknown: squeue --name={}", self.allocations.name);
                    return self.allocations.news.push(text);
                }
                Some(_) => std::thread::sleep(pause),
            }
            pause = (pause * 2).min(Duration::from_secs(15));
        }
    }

    /// End the run's allocations: those that run leave when they see that there are no more orders.
    pub(super) fn close(&mut self) -> Result<(), RunError> {
        for of in self.desk.open_orders()? {
            self.desk.withdraw(&of)?;
        }
        let until = Instant::now() + NOTICE;
        let has_arrived =
            |allocations: &Allocations| allocations.living.values().any(|known| known.worker.is_some());
        while self.stopping.is_none() && has_arrived(&self.allocations) && Instant::now() < until {
            std::thread::sleep(READ[0]);
            for (worker, note) in self.tails.notes(&self.desk)? {
                if let Note::Left(Left::Finished | Left::Idle | Left::Unable) = note {
                    self.allocations.living.remove(desk::allocation(&worker));
                }
            }
        }
        if !self.allocations.living.is_empty() && self.stopping.is_none() {
            self.allocations.cancel();
        }
        if !self.allocations.living.is_empty() {
            self.verify_cancelled();
        }
        self.desk.clear()
    }
}
