//! What was made: one folder an entry, whole or not there at all.
//!
//! ```text
//! store/<2 hex>/<fingerprint>/   manifest.json, log.txt and the artifact's files
//! partial/<fingerprint>/         what there is of a stage that is not finished
//! staging/                       entries being written; what a killed process left is removed by the next
//! damaged/<name>-<n>             entries and images that were not what had been written: set aside, never used
//! data/<digest>-<size>/          decoded images
//! digests/<key>                  what was read from files outside the store
//! experiments/<name>.json        what each stage of an experiment last was
//! throughput.json                how fast stages computed
//! runs/<time>/                   what happened
//! locks/                         held while an entry is made or a run is at work; then removed
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
//! | [`gc`] | what nobody needs any more, and its removal |
//! | [`archive`] | entries as one file, to move them between machines |
//! | `images` | decoded images verified |
//! | `space` | free space |

pub mod archive;
mod artifact_files;
pub mod checkpoint;
mod csv_rows;
mod digests;
mod entry;
pub mod error;
pub mod gc;
mod history;
mod images;
mod last_made;
pub mod lineage;
pub mod lock;
pub mod manifest;
pub mod outside;
pub mod partial;
mod predictions;
pub mod provenance;
mod space;
mod throughput;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub use digests::Digests;
use entry::Unusable;
pub use error::{ContentError, StoreError};
pub use last_made::ByStage;
pub use lineage::{Lineage, Origin};
pub use lock::Lock;
pub use manifest::{EntryHeader, FileRecord, Manifest};
pub use partial::Partial;
pub use provenance::Provenance;

use identity::Fingerprint;
use stage::Artifact;

/// A store on disk; cheap to clone, safe to use from many threads and processes at once.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens a store, creating what is missing and removing what killed processes left half-written.
    ///
    /// # Errors
    /// A folder that cannot be created or written to.
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

    /// A store that somebody else opened before: nothing is created, nothing removed.
    ///
    /// # Errors
    /// There is none.
    pub fn existing(root: &Path) -> Result<Self, StoreError> {
        let store = Self { root: root.to_path_buf() };
        store.present().map(|()| store)
    }

    /// The folder it lies in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an entry comes from and which files it has; `None` if there is none. Every file is there and
    /// has the length that it should have; a damaged entry is set aside and there is none.
    ///
    /// # Errors
    /// A file that cannot be read, as opposed to one that is missing or wrong.
    pub fn manifest(&self, fingerprint: &Fingerprint) -> Result<Option<Manifest>, StoreError> {
        match self.usable(fingerprint, |folder| entry::manifest(folder, fingerprint)) {
            Err(StoreError::Damaged { .. }) => Ok(None),
            other => other,
        }
    }

    /// An entry, the digest of every file verified; tensors are on the CPU.
    ///
    /// # Errors
    /// No such entry, or a damaged one, which is set aside; a file that cannot be read.
    pub fn get(&self, fingerprint: &Fingerprint) -> Result<Artifact, StoreError> {
        let read = |folder: &Path| {
            let Some(manifest) = entry::manifest(folder, fingerprint)? else { return Ok(None) };
            let files = entry::verified(folder, &manifest)?;
            Ok(Some((manifest, files)))
        };
        let missing = || StoreError::Missing { fingerprint: *fingerprint, root: self.root.clone() };
        let (manifest, files) = self.usable(fingerprint, read)?.ok_or_else(missing)?;
        let content = |problem| StoreError::content("read", &self.entry(fingerprint), problem);
        artifact_files::decode(&manifest.header, &files).map_err(content)
    }

    /// Keeps an artifact and the log of its making: written beside, flushed, renamed. If the entry is
    /// there already, it stays as it is.
    ///
    /// # Errors
    /// An artifact that cannot be written as files; a full disk, no right to write, a failing disk. The
    /// store is then as it was.
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

    /// Every entry's fingerprint, sorted.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn fingerprints(&self) -> Result<Vec<Fingerprint>, StoreError> {
        self.present()?;
        let mut fingerprints = Vec::new();
        for first in names(&self.root.join("store"))? {
            let names = names(&self.root.join("store").join(first))?;
            fingerprints.extend(names.iter().filter_map(|name| name.parse::<Fingerprint>().ok()));
        }
        fingerprints.sort();
        Ok(fingerprints)
    }

    /// Takes an entry out of the store, so that it can be made again. Nothing happens if there is none.
    ///
    /// # Errors
    /// No right to write there.
    pub fn remove(&self, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        let _removing = self.lock_removal()?;
        let folder = self.entry(fingerprint);
        if !folder.exists() {
            return Ok(());
        }
        self.take_out(&folder)
    }

    /// Waits for the right to make an entry.
    ///
    /// # Errors
    /// A lock file that cannot be opened, a file system without locks.
    pub fn lock(&self, fingerprint: &Fingerprint) -> Result<Lock, StoreError> {
        self.present()?;
        Lock::wait(&self.lock_file(&fingerprint.to_string()))
    }

    /// The right to make an entry; `None` if somebody has it.
    ///
    /// # Errors
    /// A lock file that cannot be opened, a file system without locks.
    pub fn try_lock(&self, fingerprint: &Fingerprint) -> Result<Option<Lock>, StoreError> {
        self.present()?;
        Lock::try_now(&self.lock_file(&fingerprint.to_string()))
    }

    /// Folder for the decoded images of a data set: its content's digest, and the side in pixels.
    pub fn data_cache(&self, content_digest: &str, size: usize) -> PathBuf {
        self.root.join("data").join(format!("{content_digest}-{size}"))
    }

    /// Where the latest damaged entry of a fingerprint was set aside, if there is one.
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
            // What else there is to say, says whoever reads or writes there.
            _ => Ok(()),
        }
    }

    /// Reads from an entry; sets it aside if it is damaged.
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
        // Somebody else may have noticed too, and may have made it anew: look again, now that nobody
        // else can take it away.
        let _removing = self.lock_removal()?;
        match read(&folder) {
            Ok(read) => Ok(read),
            Err(Unusable::Trouble(error)) => Err(error),
            Err(Unusable::Damaged(problem)) => Err(self.set_aside(fingerprint, problem)),
        }
    }

    /// Takes a folder or a file out at once, and then removes it. Only with [`Store::lock_removal`] held.
    fn take_out(&self, path: &Path) -> Result<(), StoreError> {
        self.staged(|staging| {
            let removed = fs::rename(path, staging.join("removed"));
            removed.map_err(|source| StoreError::io("remove", path, source))
        })
    }

    /// Moves a damaged entry out of the way. Only with [`Store::lock_removal`] held.
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

    /// Where to put something damaged. Only with [`Store::lock_removal`] held.
    fn next_aside(&self, name: &str) -> PathBuf {
        self.asides(name).find(|aside| !aside.exists()).expect("numbers do not end")
    }

    /// Held by whoever takes an entry out of the store.
    fn lock_removal(&self) -> Result<Lock, StoreError> {
        self.present()?;
        Lock::wait(&self.lock_file("removal"))
    }

    /// Renames a written entry into its place, unless somebody else was first.
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

    /// Writes a small file, whole or not at all, in the place of an older one.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        self.staged(|staging| {
            let beside = staging.join("file");
            entry::write_flushed(&beside, bytes)?;
            fs::rename(&beside, path).map_err(|source| StoreError::io("write", path, source))
        })
    }

    /// Works in a folder of its own on the store's disk, which is removed afterwards.
    fn staged<T>(&self, work: impl FnOnce(&Path) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.present()?;
        let _at_work = Lock::share(&self.lock_file("staging"))?;
        let all = self.root.join("staging");
        let staging = tempfile::tempdir_in(&all);
        let staging = staging.map_err(|source| StoreError::io("create a folder in", &all, source))?;
        work(staging.path())
    }

    /// Removes what killed processes left in `staging`. Whoever works there shares a lock, so if it is to
    /// be had alone, all that lies there is left over.
    fn sweep(&self) -> Result<(), StoreError> {
        let Some(_alone) = Lock::try_now(&self.lock_file("staging"))? else { return Ok(()) };
        let staging = self.root.join("staging");
        let failed = |source| StoreError::io("remove what was left in", &staging, source);
        for left in fs::read_dir(&staging).map_err(failed)? {
            fs::remove_dir_all(left.map_err(failed)?.path()).map_err(failed)?;
        }
        Ok(())
    }
}

fn create_folder(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(|source| StoreError::io("create the folder", path, source))
}

/// Names of what lies in a folder.
fn names(folder: &Path) -> Result<Vec<String>, StoreError> {
    let failed = |source| StoreError::io("read the folder", folder, source);
    let names = fs::read_dir(folder).map_err(failed)?;
    names.map(|name| Ok(name.map_err(failed)?.file_name().to_string_lossy().into_owned())).collect()
}
