//! What the run does when workers die: their orders are put back.

use super::desk;
use super::queue::Ended;
use super::{SlurmExecutor, Status};
use crate::RunError;
use crate::message::{Ending, Message};
use identity::Fingerprint;

impl SlurmExecutor<'_> {
    /// Put back what an allocation had taken when it ended.
    pub(super) fn take_back(&mut self, ended: &Ended) -> Result<(), RunError> {
        if ended.out_of_memory {
            self.take_back_for_more_memory(ended)?;
        }
        self.take_back_from(|worker| desk::allocation(worker) == ended.id)
    }

    /// Hand out what an allocation had taken when its memory ran out, for another one with more.
    fn take_back_for_more_memory(&mut self, ended: &Ended) -> Result<(), RunError> {
        for (of, worker) in self.desk.taken_orders()? {
            let is_lost = matches!(self.orders.get(&of), Some(Status::Open | Status::Taken(_)));
            if is_lost && desk::allocation(&worker) == ended.id {
                self.desk.finish(&of, &worker)?;
                self.again_with_more(of, ended.memory, format!("the memory of job {} ran out", ended.id))?;
            }
        }
        Ok(())
    }

    /// Put back orders of dead workers.
    pub(super) fn take_back_from(&mut self, is_dead: impl Fn(&str) -> bool) -> Result<(), RunError> {
        for (of, worker) in self.desk.taken_orders()? {
            if is_dead(&worker) {
                self.take_back_order(of, &worker)?;
            }
        }
        let is_lost = |status: &Status| matches!(status, Status::Taken(worker) if is_dead(worker));
        let lost = self.orders.iter().filter(|(_, status)| is_lost(status)).map(|(of, _)| *of);
        for of in lost.collect::<Vec<_>>() {
            self.hand_out_again(of)?;
        }
        Ok(())
    }

    fn take_back_order(&mut self, of: Fingerprint, worker: &str) -> Result<(), RunError> {
        match self.orders.get(&of) {
            Some(Status::Made | Status::Ended(_)) | None => self.desk.finish(&of, worker),
            Some(_) => self.put_back(of, worker),
        }
    }

    /// Put back the order of a stage whose worker died. One that never gets further fails.
    fn put_back(&mut self, of: Fingerprint, worker: &str) -> Result<(), RunError> {
        let progressed = self.desk.got_further(&of, worker)?;
        if let Some(message) = self.desk.stopped(&of, progressed)? {
            self.desk.finish(&of, worker)?;
            self.give_up(of, message);
        } else if self.desk.give_back(&of, worker)? {
            self.reopen(of, format!("job {} ended before it was made", desk::allocation(worker)));
        }
        Ok(())
    }

    /// The worker of an order died while it ended the order or put it back.
    fn hand_out_again(&mut self, of: Fingerprint) -> Result<(), RunError> {
        if !self.desk.open_orders()?.contains(&of) {
            if self.work.store.has_appeared(&of) {
                self.settle(of, Ending::Found);
                return Ok(());
            }
            let order = self.work.orders.order(self.jobs[&of][0], self.request.threads());
            self.desk.put(&order)?;
        }
        self.reopen(of, "its worker ended before it was made".into());
        Ok(())
    }

    fn reopen(&mut self, of: Fingerprint, why: String) {
        let was_taken = matches!(self.orders.insert(of, Status::Open), Some(Status::Taken(_)));
        if was_taken {
            self.pass_on(of, Message::Returned(why));
        }
    }
}
