//! `partial/<fingerprint>/`: state of an unfinished stage.
//!
//! ```text
//! state     a training's state: its digest in hexadecimal, a line break, and a safetensors file of the tensors
//!           `learner/…`, `optimizer/…`, `average/…` and `best/…`, its position in the metadata
//! log.txt   output of the stage so far, over all attempts
//! ```
//!
//! The process that runs the stage holds its lock, so no other process writes here. A state from another version of
//! medmerge is not used, because its kernels may round differently.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::entry::{flush_folder, map, write_flushed};
use super::manifest::VERSION;
use super::{ContentError, Store, StoreError, checkpoint};
use identity::Fingerprint;
use nn::StateDict;
use train::resume::{Position, Resume, TrainState};

const STATE: &str = "state";
/// The output of a stage, also in its entry.
pub(super) const LOG: &str = "log.txt";

/// Hexadecimal digits of a digest.
const DIGEST: usize = 2 * blake3::OUT_LEN;

/// The folder of an unfinished stage.
#[derive(Clone, Debug)]
pub struct Partial {
    folder: PathBuf,
}

/// The metadata of a state.
#[derive(Serialize, Deserialize)]
struct Header {
    version: String,
    position: Position,
}

impl Store {
    /// The folder for an unfinished stage, created if missing.
    ///
    /// # Errors
    /// It cannot be created, or the store was removed.
    pub fn partial(&self, fingerprint: &Fingerprint) -> Result<Partial, StoreError> {
        self.present()?;
        let folder = self.root().join("partial").join(fingerprint.to_string());
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(StoreError::io("create the folder", &folder, error))
            }
            _ => Ok(Partial { folder }),
        }
    }

    /// Remove what killed processes left of stages that had just finished.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn sweep_partials(&self) -> Result<(), StoreError> {
        let all = self.root().join("partial");
        for fingerprint in super::names(&all)?.iter().filter_map(|name| name.parse::<Fingerprint>().ok()) {
            if self.manifest(&fingerprint)?.is_some()
                && let Some(_making) = self.try_lock(&fingerprint)?
            {
                Partial { folder: all.join(fingerprint.to_string()) }.remove();
            }
        }
        Ok(())
    }
}

impl Partial {
    /// Open the stage's log for appending.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open_log(&self) -> Result<File, StoreError> {
        let path = self.log_path();
        let file = File::options().create(true).append(true).open(&path);
        file.map_err(|source| StoreError::io("write", &path, source))
    }

    /// Path of the log.
    pub fn log_path(&self) -> PathBuf {
        self.folder.join(LOG)
    }

    /// The log so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Delete the training's state, to free disk space for its result.
    pub fn forget_state(&self) {
        // If it cannot be removed, the lack of space is reported later.
        let _ = fs::remove_file(self.folder.join(STATE));
    }

    /// Remove the folder of a finished stage.
    pub fn remove(self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!("failed to remove {}: {error}; it can be deleted", self.folder.display());
        }
    }

    /// Remove the folder of a failed or interrupted stage that left neither output nor a state.
    pub fn remove_if_empty(self) {
        let log = fs::metadata(self.log_path());
        if log.map_or(true, |log| log.len() == 0) && !self.folder.join(STATE).exists() {
            self.remove();
        }
    }

    fn read(&self, path: &Path) -> Result<TrainState, String> {
        let bytes = map(path).map_err(|error| error.to_string())?;
        let (digest, content) = bytes.split_at_checked(DIGEST + 1).ok_or("it is truncated")?;
        if digest[..DIGEST] != *blake3::hash(content).to_hex().as_bytes() {
            return Err("its digest differs".into());
        }
        decode(content).map_err(|error| error.to_string())
    }

    fn write(&self, state: &TrainState) -> Result<(), StoreError> {
        let path = self.folder.join(STATE);
        let beside = self.folder.join("state.new");
        let bytes = encode(state).map_err(|problem| StoreError::content("write", &path, problem))?;
        write_flushed(&beside, &bytes)?;
        fs::rename(&beside, &path).map_err(|source| StoreError::io("write", &path, source))?;
        flush_folder(&self.folder)
    }
}

impl Resume for Partial {
    fn load(&self) -> Option<TrainState> {
        let path = self.folder.join(STATE);
        if !path.exists() {
            return None;
        }
        let state = self.read(&path);
        state
            .map_err(|why| {
                tracing::warn!("training starts over, because {} cannot be used: {why}", path.display());
            })
            .ok()
    }

    fn save(&self, state: &TrainState) {
        if let Err(error) = self.write(state) {
            // A half-written file takes space that the result needs.
            let _ = fs::remove_file(self.folder.join("state.new"));
            tracing::warn!("{error}; training continues, but cannot be resumed from here");
        }
    }
}

fn encode(state: &TrainState) -> Result<Vec<u8>, ContentError> {
    let TrainState { position, learner, optimizer, average, best } = state;
    let parts = [
        ("learner", Some(learner)),
        ("optimizer", Some(optimizer)),
        ("average", average.as_ref()),
        ("best", best.as_ref()),
    ];
    let mut tensors = StateDict::new();
    for (part, named) in parts {
        let named = named.into_iter().flatten();
        tensors.extend(named.map(|(name, tensor)| (format!("{part}/{name}"), tensor.clone())));
    }
    let header = Header { version: VERSION.into(), position: position.clone() };
    let metadata = HashMap::from([(checkpoint::KEY.to_string(), serde_json::to_string(&header)?)]);
    let content = checkpoint::encode(&tensors, metadata)?;
    Ok([blake3::hash(&content).to_hex().as_bytes(), b"\n", &content].concat())
}

fn decode(content: &[u8]) -> Result<TrainState, ContentError> {
    let (tensors, metadata) = checkpoint::decode(content)?;
    let header: Header =
        serde_json::from_str(metadata.get(checkpoint::KEY).map_or("", |header| header.as_str()))?;
    if header.version != VERSION {
        let message = format!("it was written by medmerge {}, and this is {VERSION}", header.version);
        return Err(ContentError::Malformed(message));
    }
    let part = |part: &str| -> StateDict {
        let of = |(name, tensor): (&String, _)| {
            let name = name.strip_prefix(part)?.strip_prefix('/')?;
            Some((name.to_string(), candle_core::Tensor::clone(tensor)))
        };
        tensors.iter().filter_map(of).collect()
    };
    let best = header.position.best_score.is_some().then(|| part("best"));
    let average = Some(part("average")).filter(|tensors| !tensors.is_empty());
    let (learner, optimizer) = (part("learner"), part("optimizer"));
    Ok(TrainState { position: header.position, learner, optimizer, average, best })
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use train::resume::Ongoing;

    fn state() -> TrainState {
        let named = |name: &str, value: f32| {
            StateDict::from([(name.to_string(), Tensor::new(&[value], &Device::Cpu).unwrap())])
        };
        TrainState {
            position: Position {
                epoch: Ongoing { batches: 2, images: 8, loss: 1.0 / 3.0 },
                best_score: Some(0.5),
                progress: Some((0, 0.5)),
                ..Position::default()
            },
            learner: named("fc.weight", 1.0),
            optimizer: named("fc.weight.exp_avg", 2.0),
            average: Some(named("fc.weight", 4.0)),
            best: Some(named("fc.weight", 3.0)),
        }
    }

    fn partial() -> (tempfile::TempDir, Partial) {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let partial = store.partial(&"ab".repeat(32).parse().unwrap()).unwrap();
        (root, partial)
    }

    #[test]
    fn a_state_reads_back_as_it_was_written() {
        let (_root, partial) = partial();
        assert!(partial.load().is_none());
        partial.save(&state());
        let read = partial.load().unwrap();
        assert_eq!(read.position, state().position);
        let number = |tensors: &StateDict, name: &str| tensors[name].to_vec1::<f32>().unwrap()[0];
        assert_eq!(number(&read.learner, "fc.weight"), 1.0);
        assert_eq!(number(&read.optimizer, "fc.weight.exp_avg"), 2.0);
        assert_eq!(number(&read.average.unwrap(), "fc.weight"), 4.0);
        assert_eq!(number(&read.best.unwrap(), "fc.weight"), 3.0);
        partial.save(&TrainState { average: None, ..state() });
        assert!(partial.load().unwrap().average.is_none());
    }

    #[test]
    fn a_damaged_or_truncated_state_is_not_used() {
        let (_root, partial) = partial();
        partial.save(&state());
        let path = partial.folder.join(STATE);
        let whole = fs::read(&path).unwrap();
        for at in [0, DIGEST, DIGEST + 1, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            // The line break has no content.
            assert_eq!(partial.load().is_none(), at != DIGEST, "byte {at}");
        }
        for length in [0, DIGEST, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(partial.load().is_none(), "{length} bytes");
        }
    }

    #[test]
    fn a_state_of_another_version_is_not_used() {
        let header = Header { version: "0.0.1".into(), position: Position::default() };
        let metadata =
            HashMap::from([(checkpoint::KEY.to_string(), serde_json::to_string(&header).unwrap())]);
        let content = checkpoint::encode(&StateDict::new(), metadata).unwrap();
        assert!(decode(&content).unwrap_err().to_string().starts_with("it was written by medmerge 0.0.1"));
    }

    #[test]
    fn the_log_grows_over_attempts_and_goes_with_the_folder() {
        use std::io::Write;
        let (_root, partial) = partial();
        for line in ["one", "two"] {
            writeln!(partial.open_log().unwrap(), "{line}").unwrap();
        }
        assert_eq!(partial.log(), "one\ntwo\n");
        let folder = partial.folder.clone();
        partial.remove();
        assert!(!folder.exists());
    }
}
