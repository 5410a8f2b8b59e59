//! A stage's inputs from the store and its data sets from their files, kept as long as they are of use.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::dataset::{DataError, Dataset};
use crate::plan::{Fingerprint, PlannedDataset, PlannedStage};
use crate::stage::Artifact;
use crate::store::{Store, StoreError};

/// Artifacts kept in memory: the sources of a merge and what was made of them just now.
const ARTIFACTS: usize = 4;

/// Loads artifacts and data sets, each once if it can.
#[derive(Debug)]
pub struct Loader<'a> {
    store: &'a Store,
    /// The last ones used, oldest first.
    artifacts: VecDeque<(Fingerprint, Arc<Artifact>)>,
    /// By fingerprint.
    datasets: HashMap<String, Arc<Dataset>>,
    /// How many stages will still use each data set.
    users: HashMap<String, usize>,
}

impl<'a> Loader<'a> {
    /// A loader for these stages, and no others.
    pub fn new<'s>(store: &'a Store, stages: impl Iterator<Item = &'s PlannedStage>) -> Self {
        let mut users = HashMap::new();
        for (_, dataset) in stages.flat_map(|stage| &stage.datasets) {
            *users.entry(dataset.fingerprint.clone()).or_default() += 1;
        }
        Self { store, artifacts: VecDeque::new(), datasets: HashMap::new(), users }
    }

    /// What another stage made. It is always read from the store, never handed on from the stage that made
    /// it: a result must not depend on whether its inputs were made in the same run.
    ///
    /// # Errors
    /// The entry is missing or damaged.
    pub fn artifact(&mut self, fingerprint: &Fingerprint) -> Result<Arc<Artifact>, StoreError> {
        let known = self.artifacts.iter().position(|(known, _)| known == fingerprint);
        let entry = match known.and_then(|known| self.artifacts.remove(known)) {
            Some(entry) => entry,
            None => (fingerprint.clone(), Arc::new(self.store.get(fingerprint)?)),
        };
        let artifact = Arc::clone(&entry.1);
        self.artifacts.push_back(entry);
        if self.artifacts.len() > ARTIFACTS {
            self.artifacts.pop_front();
        }
        Ok(artifact)
    }

    /// All images of a data set.
    ///
    /// # Errors
    /// A file is missing or malformed.
    pub fn dataset(&mut self, dataset: &PlannedDataset) -> Result<Arc<Dataset>, DataError> {
        if let Some(known) = self.datasets.get(&dataset.fingerprint) {
            return Ok(Arc::clone(known));
        }
        let source = dataset.spec.source();
        let cache = self.store.data_cache(&dataset.summary.digest, source.size());
        let loaded = Arc::new(source.load(Some(&cache))?);
        self.datasets.insert(dataset.fingerprint.clone(), Arc::clone(&loaded));
        Ok(loaded)
    }

    /// The stage has ended: drops the data sets that no other stage waits for.
    pub fn release(&mut self, stage: &PlannedStage) {
        for (_, dataset) in &stage.datasets {
            let users = self.users.entry(dataset.fingerprint.clone()).or_default();
            *users = users.saturating_sub(1);
            if *users == 0 {
                self.datasets.remove(&dataset.fingerprint);
            }
        }
    }
}
