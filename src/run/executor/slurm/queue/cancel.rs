//! The end of a run's allocations: one call cancels them, and another says what is left.

use super::super::client::Listed;
use super::super::state::Phase;
use super::Allocations;

impl Allocations {
    /// Cancel all allocations by one call; whether Slurm has got it.
    pub(in super::super) fn cancel(&mut self) -> bool {
        let name = format!("--name={}", self.name);
        let arrays = self.arrays();
        // In doubt, there may be others.
        let which =
            if self.in_doubt { vec![name.as_str()] } else { arrays.iter().map(String::as_str).collect() };
        if which.is_empty() {
            return true;
        }
        match self.client.cancel(&which) {
            Ok(()) => true,
            Err(trouble) => {
                let text = trouble.text();
                self.news.push(format!(
                    "failed to cancel jobs ({text}); do it later: scancel {}",
                    which.join(" ")
                ));
                false
            }
        }
    }

    fn arrays(&self) -> Vec<String> {
        let mut arrays: Vec<String> =
            self.living.keys().filter_map(|id| Some(id.split_once('_')?.0.to_owned())).collect();
        arrays.dedup();
        arrays
    }

    /// Ids of this run's jobs that are still in the queue; `None` if unknown.
    pub(in super::super) fn remaining(&self) -> Option<Vec<String>> {
        let listed = self.client.jobs(&self.name).ok()?;
        let remaining = listed.into_iter().filter(|job| job.state.phase() != Phase::Ended);
        let is_own = |job: &Listed| self.in_doubt || self.living.contains_key(&job.id);
        Some(remaining.filter(is_own).map(|job| job.id).collect())
    }
}
