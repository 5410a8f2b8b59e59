//! The store of results: one folder per entry, written atomically.
//!
//! ```text
//! store/<2 hex>/<fingerprint>/   manifest.json, log.txt and the artifact's files
//! partial/<fingerprint>/         state of an unfinished stage
//! staging/                       entries being written; leftovers of a killed process are removed by the next
//! damaged/<name>-<n>             damaged entries and images: set aside, never used
//! data/<digest>-<size>/          decoded images
//! digests/<key>                  values read from files outside the store
//! experiments/<name>.json        last fingerprint of each stage of an experiment
//! throughput.json                measured speeds of stages
//! runs/<time>/                   records of runs
//! locks/, claims/                held while an entry is made or a run is active, then removed
//! slurm/<experiment>/            orders to allocations of a cluster, and their messages
//! ```
//!
//! | file | what |
//! |---|---|
//! | `entry` | an entry's folder, written and verified |
//! | [`manifest`] | `manifest.json` |
//! | `artifact_files` | an artifact as files, and back |
//! | [`checkpoint`], [`provenance`] | tensors, and what they say of themselves |
//! | [`lineage`] | where something comes from, down to its sources |
//! | `history`, `predictions`, `csv_rows` | their CSV |
//! | [`partial`] | a training's state, to go on where it stopped |
//! | `last_made` | what a stage was when it was last made |
//! | `throughput` | how fast stages computed |
//! | `digests` | files outside the store, read once |
//! | [`outside`] | data sets and files outside the store, looked at once |
//! | [`lock`] | advisory locks |
//! | `claim` | the same among computers |
//! | `job` | whether a job of Slurm may still hold a claim |
//! | [`gc`] | garbage collection |
//! | [`archive`] | entries in one file, to move them between machines |
//! | `images` | verifying decoded images |
//! | `staging` | entries being written, and what killed processes left of them |
//! | `space` | free space |

pub mod archive;
mod artifact_files;
pub mod checkpoint;
mod claim;
mod csv_rows;
mod digests;
mod entry;
pub mod error;
pub mod gc;
mod history;
mod images;
mod job;
mod last_made;
pub mod lineage;
pub mod lock;
pub mod manifest;
pub mod outside;
pub mod partial;
mod predictions;
pub mod provenance;
mod space;
mod staging;
mod throughput;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub use digests::Digests;
use entry::Unusable;
pub use entry::map_file;
pub use error::{ContentError, StoreError};
pub use last_made::ByStage;
pub use lineage::{Lineage, Origin};
pub use lock::Lock;
pub use manifest::{EntryHeader, FileRecord, Manifest};
pub use partial::Partial;
pub use provenance::Provenance;

use identity::Fingerprint;
use stage::Artifact;

/// A store on disk: cheap to clone, safe for concurrent use by many threads and processes.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Open a store, creating what is missing and removing what killed processes left half-written.
    ///
    /// # Errors
    /// A folder cannot be created or written.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let store = Self { root: root.to_path_buf() };
        const FOLDERS: [&str; 9] =
            ["store", "partial", "staging", "damaged", "data", "digests", "experiments", "runs", "locks"];
        for folder in FOLDERS {
            create_folder(&root.join(folder))?;
        }
        store.sweep()?;
        Ok(store)
    }

    /// Open a store to read from it: as by [`Store::open`] if this user may write there, otherwise as it is. Then
    /// nothing is locked, set aside or remembered.
    ///
    /// # Errors
    /// There is no store, and none can be created.
    pub fn open_to_read(root: &Path) -> Result<Self, StoreError> {
        match Self::open(root) {
            Err(error @ StoreError::Unwritable { .. }) => Self::existing(root).map_err(|_| error),
            opened => opened,
        }
    }

    /// Open an existing store, without creating or removing anything.
    ///
    /// # Errors
    /// There is no store.
    pub fn existing(root: &Path) -> Result<Self, StoreError> {
        let store = Self { root: root.to_path_buf() };
        store.present().map(|()| store)
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The manifest of an entry; `None` if there is no entry. Every file exists and has the right length; a damaged
    /// entry is set aside and gives `None`.
    ///
    /// # Errors
    /// A file cannot be read, as opposed to being missing or damaged.
    pub fn manifest(&self, fingerprint: &Fingerprint) -> Result<Option<Manifest>, StoreError> {
        match self.usable(fingerprint, |folder| entry::manifest(folder, fingerprint)) {
            Err(StoreError::Damaged { .. } | StoreError::DamagedElsewhere { .. }) => Ok(None),
            other => other,
        }
    }

    /// Whether there is an entry. If it seems not, its folder is listed before looking again: NFS remembers for a while
    /// that something was not there.
    pub fn has_appeared(&self, fingerprint: &Fingerprint) -> bool {
        let is_there = || matches!(self.manifest(fingerprint), Ok(Some(_)));
        let list = || self.entry(fingerprint).parent().is_some_and(|folder| names(folder).is_ok());
        is_there() || (list() && is_there())
    }

    /// The artifact of an entry, with every digest verified; tensors are on the CPU. What cannot be decoded is damaged.
    ///
    /// # Errors
    /// There is no such entry, it is damaged (then it is set aside), or a file cannot be read.
    pub fn get(&self, fingerprint: &Fingerprint) -> Result<Artifact, StoreError> {
        let read = |folder: &Path| {
            let Some(manifest) = entry::manifest(folder, fingerprint)? else { return Ok(None) };
            let files = entry::verified(folder, &manifest)?;
            let undecodable = |problem| Unusable::Damaged(format!("its files cannot be decoded ({problem})"));
            artifact_files::decode(&manifest.header, &files).map(Some).map_err(undecodable)
        };
        let missing = || StoreError::Missing { fingerprint: *fingerprint, root: self.root.clone() };
        self.usable(fingerprint, read)?.ok_or_else(missing)
    }

    /// Store an artifact and the log of its stage: written to a temporary folder, flushed, renamed. An existing entry
    /// is not changed.
    ///
    /// # Errors
    /// The artifact cannot be encoded; or the disk is full, not writable or failing. The store is then unchanged.
    pub fn put(&self, header: EntryHeader, artifact: &Artifact, log: &str) -> Result<Manifest, StoreError> {
        let fingerprint = header.fingerprint;
        if let Some(present) = self.manifest(&fingerprint)? {
            return Ok(present);
        }
        let content = |problem| StoreError::content("write", &self.entry(&fingerprint), problem);
        let mut contents = artifact_files::encode(&header, artifact).map_err(content)?;
        contents.insert("log.txt".into(), log.into());
        self.staged(|staging| {
            let beside = staging.join("entry");
            let manifest = entry::write(&beside, header, &contents)?;
            self.publish(&beside, &fingerprint, manifest)
        })
    }

    /// Fingerprints of all entries, sorted.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn fingerprints(&self) -> Result<Vec<Fingerprint>, StoreError> {
        self.present()?;
        let mut fingerprints = Vec::new();
        for first in names(&self.root.join("store"))? {
            let folder = self.root.join("store").join(first);
            // Other programs leave files there: .DS_Store, .nfs….
            if !folder.is_dir() {
                continue;
            }
            let names = names(&folder)?;
            fingerprints.extend(names.iter().filter_map(|name| name.parse::<Fingerprint>().ok()));
        }
        fingerprints.sort();
        Ok(fingerprints)
    }

    /// Remove an entry, so that it can be made again; does nothing if there is none.
    ///
    /// # Errors
    /// No permission to write.
    pub fn remove(&self, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        let _removing = self.lock_removal()?;
        let folder = self.entry(fingerprint);
        if !folder.exists() {
            return Ok(());
        }
        self.take_out(&folder)
    }

    /// Wait for the lock to make an entry.
    ///
    /// # Errors
    /// The lock file cannot be opened, or the file system has no locks.
    pub fn lock(&self, fingerprint: &Fingerprint) -> Result<Lock, StoreError> {
        self.present()?;
        Lock::wait(&self.lock_file(&fingerprint.to_string()))
    }

    /// The lock to make an entry; `None` if it is held.
    ///
    /// # Errors
    /// The lock file cannot be opened, or the file system has no locks.
    pub fn try_lock(&self, fingerprint: &Fingerprint) -> Result<Option<Lock>, StoreError> {
        self.present()?;
        Lock::try_now(&self.lock_file(&fingerprint.to_string()))
    }

    /// Folder for the decoded images of a data set, by the digest of its content and the side length in pixels.
    pub fn data_cache(&self, content_digest: &str, size: usize) -> PathBuf {
        self.root.join("data").join(format!("{content_digest}-{size}"))
    }

    /// Path of the latest damaged entry of a fingerprint, if there is one.
    pub fn set_aside_as(&self, fingerprint: &Fingerprint) -> Option<PathBuf> {
        self.asides(&fingerprint.to_string()).take_while(|aside| aside.exists()).last()
    }

    fn entry(&self, fingerprint: &Fingerprint) -> PathBuf {
        let name = fingerprint.to_string();
        self.root.join("store").join(&name[..2]).join(name)
    }

    fn lock_file(&self, name: &str) -> PathBuf {
        self.root.join("locks").join(format!("{name}.lock"))
    }

    /// # Errors
    /// The store's folder was removed since it was opened.
    fn present(&self) -> Result<(), StoreError> {
        match fs::metadata(self.root.join("store")) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Err(StoreError::Gone { root: self.root.clone() })
            }
            // Other errors are reported by the operation that follows.
            _ => Ok(()),
        }
    }

    /// Read from an entry; set it aside if it is damaged.
    fn usable<T>(
        &self,
        fingerprint: &Fingerprint,
        read: impl Fn(&Path) -> Result<T, Unusable>,
    ) -> Result<T, StoreError> {
        self.present()?;
        let folder = self.entry(fingerprint);
        match read(&folder) {
            Ok(read) => return Ok(read),
            Err(Unusable::Trouble(error)) => return Err(error),
            Err(Unusable::Damaged(_)) => {}
        }
        // Another process may have noticed, too, and may have recreated it: look again, now that no other process can
        // remove it.
        let removing = self.lock_removal();
        match (read(&folder), removing) {
            (Ok(read), _) => Ok(read),
            (Err(Unusable::Trouble(error)), _) => Err(error),
            (Err(Unusable::Damaged(problem)), Err(StoreError::Unwritable { .. })) => {
                Err(StoreError::DamagedElsewhere { fingerprint: *fingerprint, problem })
            }
            (Err(Unusable::Damaged(_)), Err(error)) => Err(error),
            (Err(Unusable::Damaged(problem)), Ok(_removing)) => Err(self.set_aside(fingerprint, problem)),
        }
    }

    /// Remove a folder or a file, by renaming it first. Requires [`Store::lock_removal`].
    fn take_out(&self, path: &Path) -> Result<(), StoreError> {
        self.staged(|staging| {
            let removed = staging.join("removed");
            fs::rename(path, &removed).map_err(|source| StoreError::io("remove", path, source))?;
            let deleted =
                if removed.is_dir() { fs::remove_dir_all(&removed) } else { fs::remove_file(&removed) };
            deleted.map_err(|source| StoreError::io("delete", path, source))
        })
    }

    /// Move a damaged entry out of the way. Requires [`Store::lock_removal`].
    fn set_aside(&self, fingerprint: &Fingerprint, problem: String) -> StoreError {
        let aside = self.next_aside(&fingerprint.to_string());
        let folder = self.entry(fingerprint);
        if let Err(source) = fs::rename(&folder, &aside) {
            return StoreError::io("set aside the damaged entry", &folder, source);
        }
        tracing::warn!(entry = fingerprint.short(), problem, aside = %aside.display(), "set aside a damaged entry");
        StoreError::Damaged { fingerprint: *fingerprint, problem, aside }
    }

    fn asides(&self, name: &str) -> impl Iterator<Item = PathBuf> + use<> {
        let first = self.root.join("damaged").join(name);
        (0u64..).map(move |n| {
            let mut path = first.clone().into_os_string();
            path.push(format!("-{n}"));
            path.into()
        })
    }

    /// A free path for something damaged. Requires [`Store::lock_removal`].
    fn next_aside(&self, name: &str) -> PathBuf {
        self.asides(name).find(|aside| !aside.exists()).expect("numbers do not end")
    }

    /// The lock for removing entries.
    fn lock_removal(&self) -> Result<Lock, StoreError> {
        self.present()?;
        Lock::wait(&self.lock_file("removal"))
    }

    /// Rename a written entry to its final path, unless another process was first.
    fn publish(
        &self,
        beside: &Path,
        fingerprint: &Fingerprint,
        manifest: Manifest,
    ) -> Result<Manifest, StoreError> {
        let folder = self.entry(fingerprint);
        let parent = folder.parent().unwrap_or(&self.root);
        create_folder(parent)?;
        if let Err(source) = fs::rename(beside, &folder) {
            let present = self.manifest(fingerprint)?;
            return present.ok_or_else(|| StoreError::io("write", &folder, source));
        }
        entry::flush_folder(parent)?;
        Ok(manifest)
    }

    /// Write a small file atomically, replacing an older one.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        self.staged(|staging| {
            let beside = staging.join("file");
            entry::write_flushed(&beside, bytes)?;
            fs::rename(&beside, path).map_err(|source| StoreError::io("write", path, source))
        })
    }
}

fn create_folder(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(|source| StoreError::io("create the folder", path, source))
}

/// Names in a folder.
fn names(folder: &Path) -> Result<Vec<String>, StoreError> {
    let failed = |source| StoreError::io("read the folder", folder, source);
    let names = fs::read_dir(folder).map_err(failed)?;
    names.map(|name| Ok(name.map_err(failed)?.file_name().to_string_lossy().into_owned())).collect()
}
