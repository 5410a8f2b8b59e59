//! `experiments/<name>.json`: the last fingerprint of each stage of an experiment, to explain a rerun by what changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Lock, Store, StoreError};
use identity::Fingerprint;

/// Fingerprints by stage id.
pub type ByStage = BTreeMap<String, Fingerprint>;

impl Store {
    /// The fingerprint of each stage of an experiment when it was last made here. Also empty if the file cannot be
    /// read, since it is only used for explanations.
    pub fn last_made(&self, experiment: &str) -> ByStage {
        read(&self.notes_of(experiment))
    }

    /// Record (stage id, fingerprint) of stages that are now in the store, for [`Store::last_made`]. Without changes,
    /// nothing is written.
    ///
    /// # Errors
    /// The file cannot be written.
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
