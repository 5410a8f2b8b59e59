//! `experiments/<name>.json`: the fingerprint that each stage of an experiment last had, so that a rerun
//! can be explained by what changed since.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Lock, Store, StoreError};
use identity::Fingerprint;

/// Fingerprints by stage id.
pub type ByStage = BTreeMap<String, Fingerprint>;

impl Store {
    /// The fingerprint that each stage of an experiment had when it was last made here. Empty too if the
    /// notes cannot be read: they only explain.
    pub fn last_made(&self, experiment: &str) -> ByStage {
        read(&self.notes_of(experiment))
    }

    /// Notes (stage id, fingerprint) of stages that are now in the store, for [`Store::last_made`]. Without
    /// news, nothing is written.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn remember(&self, experiment: &str, stages: &[(String, Fingerprint)]) -> Result<(), StoreError> {
        self.present()?;
        let _writing = Lock::wait(&self.lock_file("experiments"))?;
        let path = self.notes_of(experiment);
        let mut notes = read(&path);
        if stages.iter().all(|(stage, fingerprint)| notes.get(stage) == Some(fingerprint)) {
            return Ok(());
        }
        notes.extend(stages.iter().cloned());
        let json = serde_json::to_vec_pretty(&notes).expect("a map of strings is JSON");
        self.replace(&path, &json)
    }

    fn notes_of(&self, experiment: &str) -> PathBuf {
        self.root().join("experiments").join(format!("{}.json", experiment.replace('/', "-")))
    }
}

fn read(path: &Path) -> ByStage {
    fs::read(path).ok().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
}
