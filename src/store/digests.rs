//! `digests/<key>`: a cache of values read from files outside the store, so that unchanged files are not read again.
//!
//! The key is a hash of what is read and of the paths. A note has two lines: a seal, and the value as JSON. The seal is
//! a hash of the key, the JSON and the files' stamps. So a note is valid only if it is intact, has its own name, and
//! all files are unchanged.
//!
//! | in a stamp | what it detects |
//! |---|---|
//! | length, mtime | a change of the content |
//! | ctime | the same after mtime was reset: programs cannot set ctime |
//! | inode, device | a replacement by another file, even an older one |
//!
//! A file that has just changed can change again within one tick of its file system's clock without changing its stamp.
//! So a value is cached only if every stamp was older than a tick before reading began.

use std::fs;
use std::path::PathBuf;

use rayon::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::manifest::VERSION;
use super::{Store, StoreError};

/// Nanoseconds in a second.
const SECOND: i128 = 1_000_000_000;

/// The coarsest tick of a file system's clock: FAT's.
const TICK: i128 = 2 * SECOND;

/// The maximum clock difference between another file system (on another machine) and the store's.
const DRIFT: i128 = 3600 * SECOND;

/// A cache, in a store, of values read from files outside it.
#[derive(Clone, Copy, Debug)]
pub struct Digests<'a> {
    store: &'a Store,
    /// The stamp that the store's file system gives a new file.
    clock: fn(&Store) -> Option<Stamp>,
}

/// File metadata that detects changes without reading the file; times in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: i128,
    changed: i128,
    inode: u64,
    device: u64,
}

impl<'a> Digests<'a> {
    /// The cache in this store.
    pub fn new(store: &'a Store) -> Self {
        Self { store, clock: now }
    }

    /// The result of `read`: from a valid note, or else by calling `read`.
    ///
    /// `what` identifies everything else that the result depends on. `files` lists the files; it is called again after
    /// reading, since such a list may itself be in a file. Without files, nothing is cached.
    ///
    /// # Errors
    /// The errors of `read`. A note that cannot be written only causes a warning.
    pub fn read_once<T: Serialize + DeserializeOwned, E>(
        &self,
        what: &str,
        files: impl Fn() -> Vec<PathBuf>,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let paths = files();
        if paths.is_empty() {
            return read();
        }
        let key = key(what, &paths);
        if let Some(noted) = stamps(&paths).and_then(|stamps| self.noted(&key, &stamps)) {
            return Ok(noted);
        }
        let before = self.settled_stamps(&paths);
        let value = read()?;
        let untouched = |before: &Vec<Stamp>| files() == paths && stamps(&paths).as_ref() == Some(before);
        if let Some(before) = before.filter(untouched) {
            self.note(&key, &before, &value);
        }
        Ok(value)
    }

    /// The stamps of the files, unless one is too recent to detect all changes.
    fn settled_stamps(&self, paths: &[PathBuf]) -> Option<Vec<Stamp>> {
        let now = (self.clock)(self.store)?;
        stamps(paths).filter(|stamps| stamps.iter().all(|stamp| stamp.is_settled(&now)))
    }

    fn noted<T: DeserializeOwned>(&self, key: &blake3::Hash, stamps: &[Stamp]) -> Option<T> {
        let note = fs::read_to_string(self.path(key)).ok()?;
        let (sealed, json) = note.split_once('\n')?;
        if seal(key, stamps, json).to_hex().as_str() != sealed {
            return None;
        }
        serde_json::from_str(json).ok()
    }

    fn note(&self, key: &blake3::Hash, stamps: &[Stamp], value: &impl Serialize) {
        let json = serde_json::to_string(value).expect("cached values have string keys only");
        let note = format!("{}\n{json}", seal(key, stamps, &json).to_hex());
        match self.store.replace(&self.path(key), note.as_bytes()) {
            // Who only reads from a store does not wait for a better one.
            Ok(()) | Err(StoreError::Unwritable { .. }) => {}
            Err(error) => tracing::warn!("{error}; these files will be read again"),
        }
    }

    fn path(&self, key: &blake3::Hash) -> PathBuf {
        self.store.root().join("digests").join(key.to_hex().as_str())
    }
}

impl Stamp {
    /// Whether any later change gives the file another stamp. False for a stamp in the future.
    fn is_settled(&self, now: &Self) -> bool {
        let margin = if self.device == now.device { TICK } else { DRIFT };
        self.modified.max(self.changed) + margin <= now.modified
    }

    #[cfg(unix)]
    fn of(file: &fs::Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let time = |seconds: i64, nanoseconds: i64| i128::from(seconds) * SECOND + i128::from(nanoseconds);
        Some(Self {
            bytes: file.size(),
            modified: time(file.mtime(), file.mtime_nsec()),
            changed: time(file.ctime(), file.ctime_nsec()),
            inode: file.ino(),
            device: file.dev(),
        })
    }

    /// Other systems provide too little metadata.
    #[cfg(not(unix))]
    fn of(_: &fs::Metadata) -> Option<Self> {
        None
    }
}

/// The stamp of a temporary file without a name.
fn now(store: &Store) -> Option<Stamp> {
    let file = tempfile::tempfile_in(store.root().join("digests"));
    Stamp::of(&file.and_then(|file| file.metadata()).ok()?)
}

/// The stamps of the files; `None` if one is unavailable.
fn stamps(paths: &[PathBuf]) -> Option<Vec<Stamp>> {
    paths.par_iter().map(|path| Stamp::of(&path.metadata().ok()?)).collect()
}

/// Each part is preceded by its length, so that different parts give different keys.
fn key(what: &str, paths: &[PathBuf]) -> blake3::Hash {
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let paths: Vec<PathBuf> = paths.iter().map(absolute).collect();
    let parts = [VERSION.as_bytes(), what.as_bytes()].into_iter();
    let mut hasher = blake3::Hasher::new();
    for part in parts.chain(paths.iter().map(|path| path.as_os_str().as_encoded_bytes())) {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    hasher.finalize()
}

fn seal(key: &blake3::Hash, stamps: &[Stamp], json: &str) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(key.as_bytes());
    for Stamp { bytes, modified, changed, inode, device } in stamps {
        for number in [bytes, inode, device] {
            hasher.update(&number.to_le_bytes());
        }
        for time in [modified, changed] {
            hasher.update(&time.to_le_bytes());
        }
    }
    hasher.update(json.as_bytes());
    hasher.finalize()
}

/// A simulated clock.
#[cfg(any(test, feature = "testing"))]
mod testing {
    use super::*;

    pub(super) const DAY: i128 = 24 * 3600 * SECOND;

    impl<'a> Digests<'a> {
        /// A cache for which a day has passed since the files were written.
        pub fn later(store: &'a Store) -> Self {
            Self { store, clock: |store| at(store, DAY) }
        }
    }

    pub(super) fn at(store: &Store, offset: i128) -> Option<Stamp> {
        now(store).map(|now| Stamp { modified: now.modified + offset, ..now })
    }
}

#[cfg(all(test, unix))]
mod tests;
