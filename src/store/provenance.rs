//! What a checkpoint says of itself.

use std::path::Path;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::manifest::VERSION;
use super::{ContentError, EntryHeader, Manifest, Store, StoreError, artifact_files, checkpoint, entry};
use identity::{Ancestry, Fingerprint, Role};
use stage::ModelInfo;

/// What a safetensors file says of itself, as JSON under [`checkpoint::KEY`]. It goes with the file wherever that is
/// copied to. No time, no name of a stage or a machine is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of medmerge that wrote it.
    pub version: String,
    /// Kind of the stage that made it.
    pub kind: String,
    /// Of that stage.
    pub fingerprint: Fingerprint,
    /// Architecture, normalisation, head.
    pub info: ModelInfo,
    /// (role, fingerprint) of each input of the stage.
    pub inputs: Vec<(Role, Fingerprint)>,
    /// All that it and what it was made from depend on, itself first. Empty in files of earlier versions.
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
            inputs: header.inputs.clone(),
            ancestry: header.ancestry.clone(),
        }
    }

    /// Of the bytes of a safetensors file; `None` if no stage made it.
    ///
    /// # Errors
    /// They are no safetensors file, or their provenance cannot be read.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, ContentError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let text = header.metadata().as_ref().and_then(|metadata| metadata.get(checkpoint::KEY));
        let Some(text) = text else { return Ok(None) };
        let said: serde_json::Value = serde_json::from_str(text)?;
        // `medmerge merge` tells of the files that it merged by their digests, and has no fingerprint.
        if said.get("blake3").is_some() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_value(said)?))
    }
}

/// What a safetensors file says of itself; `None` if no stage made it.
///
/// # Errors
/// A file that cannot be read or is no safetensors file.
pub fn provenance(path: &Path) -> Result<Option<Provenance>, StoreError> {
    Provenance::read(&entry::map(path)?).map_err(|problem| StoreError::content("read", path, problem))
}

impl Store {
    /// What an entry's checkpoint says of itself; `None` if it has none. Its digest is not verified.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn provenance(&self, manifest: &Manifest) -> Result<Option<Provenance>, StoreError> {
        let folder = self.entry(&manifest.header.fingerprint);
        let name = artifact_files::TENSORS.into_iter().find(|name| manifest.files.contains_key(*name));
        name.map_or(Ok(None), |name| provenance(&folder.join(name)))
    }
}
