//! What was made: one folder an entry, whole or not there at all.

pub mod error;
pub mod lock;
pub mod manifest;

use std::path::{Path, PathBuf};

pub use error::StoreError;
pub use lock::Lock;
pub use manifest::{EntryHeader, FileRecord, Manifest};

use crate::plan::Fingerprint;
use crate::stage::Artifact;

/// A store on disk; cheap to clone, safe to use from many threads and processes at once.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens or creates a store.
    pub fn open(_root: &Path) -> Result<Self, StoreError> {
        unimplemented!()
    }

    /// The folder it lies in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is known of an entry.
    pub fn manifest(&self, _fingerprint: &Fingerprint) -> Result<Option<Manifest>, StoreError> {
        unimplemented!()
    }

    /// An entry, verified.
    pub fn get(&self, _fingerprint: &Fingerprint) -> Result<Artifact, StoreError> {
        unimplemented!()
    }

    /// Keeps an artifact.
    pub fn put(
        &self,
        _header: EntryHeader,
        _artifact: &Artifact,
        _log: &str,
    ) -> Result<Manifest, StoreError> {
        unimplemented!()
    }

    /// Takes an entry out of the store, so that it can be made again (`--rerun`).
    pub fn remove(&self, _fingerprint: &Fingerprint) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Waits for the right to make an entry.
    pub fn lock(&self, _fingerprint: &Fingerprint) -> Result<Lock, StoreError> {
        unimplemented!()
    }

    /// The right to make an entry, unless somebody else has it.
    pub fn try_lock(&self, _fingerprint: &Fingerprint) -> Result<Option<Lock>, StoreError> {
        unimplemented!()
    }

    /// The fingerprint that a stage of an experiment had when it was last made.
    pub fn last_made(&self, _experiment: &str, _stage_id: &str) -> Option<Fingerprint> {
        unimplemented!()
    }

    /// Notes fingerprints for [`Store::last_made`].
    pub fn remember(&self, _experiment: &str, _stages: &[(String, Fingerprint)]) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Folder for the decoded images of a data set's content at a size in pixels.
    pub fn data_cache(&self, _content_digest: &str, _size: usize) -> PathBuf {
        unimplemented!()
    }
}
