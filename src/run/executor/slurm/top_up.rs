//! Submits allocations while there are too few.

use std::collections::HashMap;
use std::path::Path;

use super::packing::allocations;
use super::{SlurmExecutor, Status};
use crate::RunError;
use crate::message::Ending;
use crate::scheduler::Job;
use identity::Fingerprint;
use plan::makespan;

impl SlurmExecutor<'_> {
    /// Submit allocations for orders that wait, if there are too few.
    pub(super) fn top_up(&mut self) -> Result<(), RunError> {
        if self.allocations.is_in_doubt() || self.awaited.is_empty() {
            return Ok(());
        }
        let waiting: Vec<usize> = self.awaited.iter().copied().filter(|&job| self.is_open(job)).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        if let Some(last) = self.allocations.fruitless() {
            return Err(fruitless(&self.desk.log(last)));
        }
        self.top_up_memory(&waiting)?;
        let rest = self.unfinished();
        let wanted = allocations(&rest, &self.request.packing());
        let count = wanted.saturating_sub(self.allocations.living.len());
        if count > 0 {
            self.allocations.submit(&self.request, count)?;
        }
        Ok(())
    }

    /// Submit an allocation for orders that need more memory than any other has.
    fn top_up_memory(&mut self, waiting: &[usize]) -> Result<(), RunError> {
        let needs = waiting.iter().filter_map(|&job| self.more_memory.get(&self.fingerprints[job]));
        let Some(&need) = needs.max() else { return Ok(()) };
        let has = self.allocations.living.values().map(|known| known.memory).max().unwrap_or(0);
        if need <= has {
            return Ok(());
        }
        let request = self.request.with_memory(need);
        match self.allocations.submit(&request, 1) {
            Err(RunError::Refused(message)) => {
                self.give_up_memory(has, &message);
                Ok(())
            }
            submitted => submitted,
        }
    }

    /// Stages that need more memory than Slurm grants fail; others go on.
    fn give_up_memory(&mut self, has: u64, why: &str) {
        let is_too_much = |(of, need): (&Fingerprint, &u64)| (*need > has).then_some(*of);
        for of in self.more_memory.iter().filter_map(is_too_much).collect::<Vec<_>>() {
            if self.orders.get(&of) == Some(&Status::Open) {
                // If it cannot be removed, no allocation has the memory to take it.
                let _ = self.desk.withdraw(&of);
                self.settle(of, Ending::Failed(format!("it ran out of memory, and cannot have more: {why}")));
            }
        }
    }

    pub(super) fn is_open(&self, job: usize) -> bool {
        self.orders.get(&self.fingerprints[job]) == Some(&Status::Open)
    }

    /// Jobs that have not ended, as a plan of their own.
    fn unfinished(&self) -> Vec<makespan::Job> {
        let mut positions = HashMap::new();
        let mut rest = Vec::new();
        for (job, fingerprint) in self.fingerprints.iter().enumerate() {
            if matches!(self.orders.get(fingerprint), Some(Status::Made | Status::Ended(_)) | None) {
                continue;
            }
            positions.insert(job, rest.len());
            let Job { seconds, need, .. } = &self.work.jobs[job];
            let inputs = need.inputs.iter().filter_map(|input| positions.get(input).copied()).collect();
            rest.push(makespan::Job { seconds: *seconds, inputs });
        }
        rest
    }
}

/// Allocations end without making anything; this is the log of the last one.
fn fruitless(log: &Path) -> RunError {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().rev().take(5).map(|line| format!("\n    {line}")).collect();
    let tail: String = lines.into_iter().rev().collect();
    let its_end = if tail.is_empty() { "" } else { "; its end:" };
    RunError::Refused(format!(
        "allocations of Slurm end before they make anything; see {} and `setup` in the settings{its_end}{tail}",
        log.display()
    ))
}
