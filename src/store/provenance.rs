//! Provenance in a checkpoint.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::manifest::VERSION;
use super::partial::LOG;
use super::{
    ContentError, EntryHeader, Manifest, Store, StoreError, artifact_files, checkpoint, entry, history,
};
use identity::{Ancestry, Fingerprint, Role};
use stage::ModelInfo;
use train::EpochRecord;

/// Provenance in a safetensors file, as JSON under [`checkpoint::KEY`]. It stays with copies of the file. It contains
/// no time, stage name or machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of medmerge that wrote it.
    pub version: String,
    /// Kind of the stage that made it.
    pub kind: String,
    /// Fingerprint of that stage.
    pub fingerprint: Fingerprint,
    /// Architecture, input normalization and head.
    pub info: ModelInfo,
    /// Why torchvision or timm refuse the tensors as they are, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// (role, fingerprint) of each input of the stage.
    pub inputs: Vec<(Role, Fingerprint)>,
    /// Everything that it and its ancestors depend on, itself first. Empty in files of earlier versions.
    #[serde(default, skip_serializing_if = "Ancestry::is_empty")]
    pub ancestry: Ancestry,
}

impl Provenance {
    pub(super) fn new(header: &EntryHeader, info: &ModelInfo) -> Self {
        Self {
            version: VERSION.to_string(),
            kind: header.kind.clone(),
            fingerprint: header.fingerprint,
            info: info.clone(),
            note: info.backbone.refusal(),
            inputs: header.inputs.clone(),
            ancestry: header.ancestry.clone(),
        }
    }

    /// Read the provenance in the bytes of a safetensors file; `None` if no stage made it.
    ///
    /// # Errors
    /// They are not a safetensors file, or their provenance cannot be read.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, ContentError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let text = header.metadata().as_ref().and_then(|metadata| metadata.get(checkpoint::KEY));
        let Some(text) = text else { return Ok(None) };
        let said: serde_json::Value = serde_json::from_str(text)?;
        // `medmerge merge` records the digests of its input files; other programs describe the model alone.
        let is_by_others = said.get("info").is_some() && said.get("fingerprint").is_none();
        if is_by_others || said.get("blake3").is_some() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_value(said)?))
    }
}

/// The provenance of a safetensors file; `None` if no stage made it.
///
/// # Errors
/// The file cannot be read or is not a safetensors file.
pub fn provenance(path: &Path) -> Result<Option<Provenance>, StoreError> {
    Provenance::read(&entry::map(path)?).map_err(|problem| StoreError::content("read", path, problem))
}

impl Store {
    /// Path of the model in an entry, if it has one.
    pub fn model_file(&self, manifest: &Manifest) -> Option<PathBuf> {
        let folder = self.entry(&manifest.header.fingerprint);
        manifest.files.contains_key(artifact_files::MODEL).then(|| folder.join(artifact_files::MODEL))
    }

    /// The log of an entry; `None` if it has none. Its digest is not verified.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn log(&self, manifest: &Manifest) -> Result<Option<String>, StoreError> {
        if !manifest.files.contains_key(LOG) {
            return Ok(None);
        }
        let path = self.entry(&manifest.header.fingerprint).join(LOG);
        fs::read_to_string(&path).map(Some).map_err(|source| StoreError::io("read", &path, source))
    }

    /// The epochs of an entry's training; empty if nothing was trained. Its digest is not verified.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn history(&self, manifest: &Manifest) -> Result<Vec<EpochRecord>, StoreError> {
        if !manifest.files.contains_key(artifact_files::HISTORY) {
            return Ok(Vec::new());
        }
        let path = self.entry(&manifest.header.fingerprint).join(artifact_files::HISTORY);
        let bytes = fs::read(&path).map_err(|source| StoreError::io("read", &path, source))?;
        history::decode(&bytes).map_err(|problem| StoreError::content("read", &path, problem))
    }

    /// The provenance of an entry's checkpoint; `None` if it has none. Its digest is not verified.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn provenance(&self, manifest: &Manifest) -> Result<Option<Provenance>, StoreError> {
        let folder = self.entry(&manifest.header.fingerprint);
        let name = artifact_files::TENSORS.into_iter().find(|name| manifest.files.contains_key(*name));
        name.map_or(Ok(None), |name| provenance(&folder.join(name)))
    }
}
