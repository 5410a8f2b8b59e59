//! `manifest.json`: provenance of an entry, and length and digest of its files. Its last line is the digest of
//! everything before it.

use std::time::{Duration, SystemTime};

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use identity::{Ancestry, Field, Fingerprint, Role};
use stage::{Description, StageSpec};

/// File name of manifests.
pub(super) const MANIFEST: &str = "manifest.json";

/// The text between the content of the file and its digest.
const SEAL: &str = ",\n  \"blake3\": \"";

/// Version of medmerge.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The origin of an entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntryHeader {
    /// Fingerprint of the stage that made it.
    pub fingerprint: Fingerprint,
    /// Kind of the stage.
    pub kind: String,
    /// Revision of the kind.
    pub revision: u32,
    /// Everything that the result depends on.
    pub fields: Vec<Field>,
    /// (role, fingerprint) of each input, in the stage's order.
    pub inputs: Vec<(Role, Fingerprint)>,
    /// (role, fingerprint) of each data set, in the stage's order.
    pub datasets: Vec<(Role, Fingerprint)>,
    /// Names of the data sets when it was made, in the same order, for users; empty in older manifests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dataset_names: Vec<String>,
    /// Everything that it and its ancestors depend on. Stored in its checkpoint, not in the manifest.
    #[serde(skip)]
    pub ancestry: Ancestry,
    /// Ids of the stages that requested it when it was made, for users.
    pub stage_ids: Vec<String>,
    /// Description of the artifact.
    pub description: Description,
    /// Start time; in the manifest, whole seconds since 1970.
    #[serde(serialize_with = "to_unix_seconds", deserialize_with = "from_unix_seconds")]
    pub started: SystemTime,
    /// Duration in seconds.
    pub seconds: f64,
    /// Peak memory in bytes of the process that made it, while it did, with data sets that the process kept from
    /// earlier stages and without the GPU's; `None` in older manifests and where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
}

/// `manifest.json`: written last, so an entry with a manifest is complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Origin of the entry.
    #[serde(flatten)]
    pub header: EntryHeader,
    /// Version of medmerge that made it.
    pub version: String,
    /// Version of candle that computed it.
    pub candle: String,
    /// Every other file of the entry, in writing order.
    pub files: IndexMap<String, FileRecord>,
}

/// Expected length and digest of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Length in bytes.
    pub bytes: u64,
    /// BLAKE3 hash of the content in hexadecimal.
    pub blake3: String,
}

impl EntryHeader {
    /// Check a header that somebody else may have written: the fingerprint is that of the fields, and what is stated
    /// beside the fields is among them.
    ///
    /// # Errors
    /// What does not fit.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.fields.is_empty() {
            return Err(format!("{MANIFEST} has no fields"));
        }
        if Fingerprint::of(&self.fields) != self.fingerprint {
            return Err(format!("the fields in {MANIFEST} do not have the entry's fingerprint"));
        }
        if !StageSpec::KINDS.contains(&self.kind.as_str()) {
            return Err(format!("there is no kind of stage `{}`", self.kind));
        }
        let stated = [Field::new("kind", &self.kind), Field::new("revision", self.revision.to_string())];
        let references = |what: &'static str, pairs: &[(Role, Fingerprint)]| -> Vec<Field> {
            pairs.iter().map(|(role, of)| Field::new(format!("{what}.{role}"), of.to_string())).collect()
        };
        let inputs =
            references("input", &self.inputs).into_iter().chain(references("dataset", &self.datasets));
        match stated.into_iter().chain(inputs).find(|field| !self.fields.contains(field)) {
            Some(Field { path, value }) => {
                Err(format!("`{path}` is {value} in {MANIFEST}, but not in its fields"))
            }
            None => Ok(()),
        }
    }
}

impl Manifest {
    /// The manifest of files with these contents, written by this program.
    pub(super) fn new(header: EntryHeader, contents: &IndexMap<String, Vec<u8>>) -> Self {
        let record = |bytes: &Vec<u8>| FileRecord {
            bytes: bytes.len() as u64,
            blake3: blake3::hash(bytes).to_hex().to_string(),
        };
        let files = contents.iter().map(|(name, bytes)| (name.clone(), record(bytes))).collect();
        Self { header, version: VERSION.into(), candle: candle_version().into(), files }
    }

    /// The content of `manifest.json`.
    pub(super) fn to_json(&self) -> serde_json::Result<String> {
        let json = serde_json::to_string_pretty(self)?;
        let content = json.strip_suffix("\n}").expect("an object on several lines");
        Ok(format!("{content}{SEAL}{}\"\n}}", blake3::hash(content.as_bytes())))
    }

    /// Parse the output of [`Manifest::to_json`]; an error message otherwise.
    pub(super) fn from_json(json: &[u8]) -> Result<Self, String> {
        let manifest: Self =
            serde_json::from_slice(json).map_err(|error| format!("{MANIFEST} cannot be read ({error})"))?;
        // JSON is text.
        let json = String::from_utf8_lossy(json);
        let as_written = match json.rsplit_once(SEAL) {
            Some((content, seal)) => {
                seal.strip_suffix("\"\n}") == Some(blake3::hash(content.as_bytes()).to_hex().as_str())
            }
            // Old manifests had no digest, and no further content.
            None => serde_json::to_string_pretty(&manifest).is_ok_and(|written| written == json),
        };
        let changed = || format!("the digest of {MANIFEST} differs");
        if as_written { Ok(manifest) } else { Err(changed()) }
    }
}

/// Version of candle-core in the lock file of this build.
fn candle_version() -> &'static str {
    let lock_file = include_str!("../../Cargo.lock");
    let after = lock_file.split_once("name = \"candle-core\"\nversion = \"").map(|(_, after)| after);
    after.and_then(|after| after.split_once('"')).map_or("unknown", |(version, _)| version)
}

fn to_unix_seconds<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    serializer.serialize_u64(since.as_secs())
}

fn from_unix_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let seconds = u64::deserialize(deserializer)?;
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    time.ok_or_else(|| serde::de::Error::custom("a time that this machine cannot represent"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let header = EntryHeader {
            fingerprint: "0a".repeat(32).parse().unwrap(),
            kind: "evaluate".into(),
            revision: 1,
            fields: vec![Field { path: "train.epochs".into(), value: "\u{e9}, \"\n".into() }],
            inputs: vec![("model".into(), "0b".repeat(32).parse().unwrap())],
            datasets: Vec::new(),
            dataset_names: Vec::new(),
            ancestry: Ancestry::new(),
            stage_ids: vec!["scores[seed=0]".into()],
            description: Description::Scores,
            started: SystemTime::UNIX_EPOCH,
            seconds: 1.5,
            peak_memory: None,
        };
        Manifest::new(header, &IndexMap::from([("log.txt".to_string(), b"epoch 1".to_vec())]))
    }

    #[test]
    fn a_manifest_is_read_back_and_any_changed_byte_is_noticed() {
        let json = manifest().to_json().unwrap().into_bytes();
        assert_eq!(Manifest::from_json(&json).unwrap(), manifest());
        for position in 0..json.len() {
            for bit in 0..8 {
                let mut damaged = json.clone();
                damaged[position] ^= 1 << bit;
                let text = String::from_utf8_lossy(&damaged);
                assert!(Manifest::from_json(&damaged).is_err(), "byte {position}: {text}");
            }
        }
    }

    #[test]
    fn a_manifest_without_a_digest_is_read_if_it_has_nothing_else() {
        let json = serde_json::to_string_pretty(&manifest()).unwrap();
        assert_eq!(Manifest::from_json(json.as_bytes()).unwrap(), manifest());
        let more = json.replacen("{\n", "{\n  \"more\": 1,\n", 1);
        assert!(Manifest::from_json(more.as_bytes()).unwrap_err().contains("the digest of"));
    }

    #[test]
    fn the_version_of_candle_is_known() {
        assert!(candle_version().starts_with(|c: char| c.is_ascii_digit()), "{}", candle_version());
    }
}
