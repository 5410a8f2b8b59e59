//! What the run does when workers say something.

use std::time::Instant;

use super::desk::{self, Note};
use super::{MORE_MEMORY, SlurmExecutor, Status};
use crate::RunError;
use crate::message::{Ending, Message};
use identity::Fingerprint;

impl SlurmExecutor<'_> {
    pub(super) fn hear(&mut self, worker: &str, note: Note) -> Result<(), RunError> {
        let allocation = desk::allocation(worker).to_owned();
        self.allocations.heard(&allocation);
        self.allocations.recall(worker, &note);
        match note {
            Note::Arrived { .. } => {
                self.take_back_from(|other| desk::allocation(other) == allocation && other != worker)?;
                self.allocations.arrived(&allocation, worker);
            }
            Note::Alive => {}
            Note::Said { of, message } => self.hear_of(worker, of, message)?,
            Note::Left(left) => {
                if let Some(ended) = self.allocations.left(&allocation, left) {
                    self.take_back(&ended)?;
                }
            }
        }
        Ok(())
    }

    fn hear_of(&mut self, worker: &str, of: Fingerprint, message: Message) -> Result<(), RunError> {
        if !self.jobs.contains_key(&of)
            || matches!(self.orders.get(&of), Some(Status::Made | Status::Ended(_)))
        {
            return Ok(());
        }
        match message {
            Message::Started => {
                self.orders.insert(of, Status::Taken(worker.to_owned()));
                self.pass_on(of, Message::Started);
            }
            Message::Returned(why) => {
                self.orders.insert(of, Status::Open);
                self.pass_on(of, Message::Returned(why));
            }
            Message::Ended(ending) => self.end(worker, of, ending)?,
            message => {
                if matches!(&message, Message::Progress(progress) if progress.is_continued()) {
                    self.allocations.bore_fruit(desk::allocation(worker));
                }
                self.pass_on(of, message);
            }
        }
        Ok(())
    }

    fn end(&mut self, worker: &str, of: Fingerprint, ending: Ending) -> Result<(), RunError> {
        match ending {
            Ending::OutOfMemory(message) => {
                let had = self.allocations.living.get(desk::allocation(worker)).map(|known| known.memory);
                self.again_with_more(of, had.unwrap_or(self.request.memory), message)
            }
            Ending::Executed { .. } | Ending::Found => {
                self.allocations.bore_fruit(desk::allocation(worker));
                self.orders.insert(of, Status::Made);
                self.appearing.wait_for(of, ending, Instant::now());
                Ok(())
            }
            ending => {
                self.allocations.bore_fruit(desk::allocation(worker));
                self.settle(of, ending);
                Ok(())
            }
        }
    }

    /// A stage ran out of memory: hand its order out again, for an allocation with twice as much.
    pub(super) fn again_with_more(
        &mut self,
        of: Fingerprint,
        had: u64,
        message: String,
    ) -> Result<(), RunError> {
        let most = self.request.memory.saturating_mul(1 << MORE_MEMORY);
        let more = had.max(self.more_memory.get(&of).copied().unwrap_or(0)).saturating_mul(2);
        if more > most {
            self.give_up(of, format!("{message}; it had {had} MiB; set more `memory` for allocations"));
            return Ok(());
        }
        self.more_memory.insert(of, more);
        self.publish()?;
        let job = self.jobs[&of][0];
        let order = self.work.orders.order(job, self.request.threads());
        self.desk.put(&order)?;
        self.orders.insert(of, Status::Open);
        self.pass_on(of, Message::Returned(format!("{message}; again with {more} MiB")));
        Ok(())
    }

    /// Entries that have appeared, or did not for too long.
    pub(super) fn look_for_entries(&mut self) {
        let store = self.work.store;
        for (of, ending) in self.appearing.look(Instant::now(), |of| store.has_appeared(of)) {
            self.settle(of, ending);
        }
    }

    /// A stage fails after several allocations could not make it. Others may.
    pub(super) fn give_up(&mut self, of: Fingerprint, message: String) {
        self.allocations.had_result();
        self.settle(of, Ending::Failed(message));
    }

    /// An order has ended: so have its jobs, or will when the scheduler starts them.
    pub(super) fn settle(&mut self, of: Fingerprint, ending: Ending) {
        self.orders.insert(of, Status::Ended(ending.clone()));
        self.pass_on(of, Message::Ended(ending));
    }

    /// Pass a message on to the scheduler, if it waits for the job.
    pub(super) fn pass_on(&mut self, of: Fingerprint, message: Message) {
        let ends = matches!(message, Message::Ended(_));
        if let Some(&job) = self.jobs[&of].iter().find(|job| self.awaited.contains(job)) {
            if ends {
                self.awaited.remove(&job);
            }
            self.inbox.push_back((job, message));
        }
    }
}
