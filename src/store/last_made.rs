//! `experiments/<name>.json`: the fingerprint that each stage of an experiment last had, so that a rerun
//! can be explained by what changed since.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::entry::write_flushed;
use super::{Lock, Store, StoreError};
use crate::plan::Fingerprint;

type ByStage = BTreeMap<String, Fingerprint>;

impl Store {
    /// The fingerprint that a stage of an experiment had when it was last made here. `None` too if the
    /// note of it cannot be read: it only explains.
    pub fn last_made(&self, experiment: &str, stage_id: &str) -> Option<Fingerprint> {
        read(&self.notes_of(experiment)).remove(stage_id)
    }

    /// Notes (stage id, fingerprint) of stages that are now in the store, for [`Store::last_made`].
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn remember(&self, experiment: &str, stages: &[(String, Fingerprint)]) -> Result<(), StoreError> {
        self.present()?;
        let _writing = Lock::wait(&self.lock_file("experiments"))?;
        let path = self.notes_of(experiment);
        let mut notes = read(&path);
        notes.extend(stages.iter().cloned());
        let json = serde_json::to_vec_pretty(&notes).expect("a map of strings is JSON");
        self.staged(|staging| {
            let beside = staging.join("notes.json");
            write_flushed(&beside, &json)?;
            fs::rename(&beside, &path).map_err(|source| StoreError::io("write", &path, source))
        })
    }

    fn notes_of(&self, experiment: &str) -> PathBuf {
        self.root().join("experiments").join(format!("{experiment}.json"))
    }
}

fn read(path: &Path) -> ByStage {
    fs::read(path).ok().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
}
