//! Garbage collection: finding and removing what is no longer needed.
//!
//! | what | is garbage unless |
//! |---|---|
//! | an entry | it is needed (to be kept, or in the plan of an active run), or being made |
//! | anything set aside as damaged | |
//! | decoded images | they are to be kept, or the file is being written |
//! | an unfinished training | its entry is needed and does not exist yet, or is being made |
//! | a run's record | it is among the newest, or the run is active |
//! | the file of a lock | the lock is held |
//!
//! An active run holds a lock, see [`Store::lock_run`]. Removal starts with a rename, so a reader finds everything or
//! nothing; on Unix, files that are open or mapped stay readable.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::lock::{is_free, lock_now};
use super::{ContentError, Lock, Store, StoreError, entry, names};
use identity::Fingerprint;

/// The number of run records to keep, the newest ones.
pub const KEPT_RUNS: usize = 20;

/// What to keep.
#[derive(Clone, Debug, Default)]
pub struct Keep {
    /// Entries, existing or not.
    pub entries: BTreeSet<Fingerprint>,
    /// Folders of decoded images, by [`Store::data_cache`].
    pub images: BTreeSet<PathBuf>,
}

/// The sort of a leftover. Leftovers are listed in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// An entry.
    Entry,
    /// Something set aside as damaged.
    Damaged,
    /// A file of decoded images.
    Images,
    /// An unfinished training.
    Partial,
    /// The record of a run.
    Run,
    /// The file of a lock that is not held.
    Lock,
}

impl Sort {
    /// The sort in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Damaged => "damaged",
            Self::Images => "images",
            Self::Partial => "partial",
            Self::Run => "run",
            Self::Lock => "lock",
        }
    }
}

/// A file or folder that is no longer needed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leftover {
    /// Its sort.
    pub sort: Sort,
    /// Path relative to the store's root.
    pub path: PathBuf,
    /// Total size of its files.
    pub bytes: u64,
    /// For an entry: its kind and the stages that made it.
    pub about: String,
}

impl Store {
    /// Everything that is not needed if `keep` is kept, by sort and name. Changes nothing.
    ///
    /// # Errors
    /// A folder cannot be read, or a run has just started.
    pub fn leftovers(&self, keep: &Keep) -> Result<Vec<Leftover>, StoreError> {
        self.present()?;
        let needed = &keep.entries | &self.entries_in_use()?;
        let mut leftovers = self.left_entries(&needed)?;
        leftovers.extend(self.left_below("damaged", Sort::Damaged, |_| Ok(true))?);
        leftovers.extend(self.left_images(keep)?);
        leftovers.extend(self.left_partial(&needed)?);
        leftovers.extend(self.left_runs()?);
        if cfg!(unix) {
            leftovers.extend(self.left_below("locks", Sort::Lock, |name| {
                Ok(!Lock::is_held(&self.root.join("locks").join(name))?)
            })?);
        }
        Ok(leftovers)
    }

    /// Remove a leftover. Returns `false`, and keeps it, if it is being made or used.
    ///
    /// # Errors
    /// No permission to write.
    pub fn free(&self, leftover: &Leftover) -> Result<bool, StoreError> {
        let path = self.root.join(&leftover.path);
        let name = leftover.path.file_name().unwrap_or_default().to_string_lossy();
        match leftover.sort {
            Sort::Entry | Sort::Partial => match Lock::try_now(&self.lock_file(&name))? {
                Some(_making) => self.free_whole(&path),
                None => Ok(false),
            },
            Sort::Run if self.is_at_work(&name)? => Ok(false),
            Sort::Damaged | Sort::Run => self.free_whole(&path),
            Sort::Images => {
                free_unless_written(&path).map_err(|source| StoreError::io("remove", &path, source))
            }
            Sort::Lock => match Lock::try_now(&path)? {
                Some(lock) => lock.remove().map(|()| true),
                None => Ok(false),
            },
        }
    }

    /// Mark a run as active while the lock is held: nothing in the run's plan is garbage. `record` is the name of its
    /// folder in `runs/`, which contains `plan.json`.
    ///
    /// # Errors
    /// The lock file cannot be opened, or the file system has no locks.
    pub fn lock_run(&self, record: &str) -> Result<Lock, StoreError> {
        self.present()?;
        Lock::wait(&self.run_lock_file(record))
    }

    /// Whether a run is active, by the name of its folder in `runs/`.
    ///
    /// # Errors
    /// The lock file cannot be opened, or the file system has no locks.
    pub fn is_at_work(&self, record: &str) -> Result<bool, StoreError> {
        Lock::is_held(&self.run_lock_file(record))
    }

    /// The lock of an experiment's run on a cluster; `None` if another one holds it.
    ///
    /// # Errors
    /// The lock file cannot be opened, or the file system has no locks.
    pub fn try_lock_desk(&self, experiment: &str) -> Result<Option<Lock>, StoreError> {
        self.present()?;
        Lock::try_now(&self.lock_file(&format!("slurm-{}", experiment.replace(['/', ':'], "-"))))
    }

    fn run_lock_file(&self, record: &str) -> PathBuf {
        self.lock_file(&format!("run-{record}"))
    }

    fn left_entries(&self, needed: &BTreeSet<Fingerprint>) -> Result<Vec<Leftover>, StoreError> {
        let mut leftovers = Vec::new();
        for fingerprint in self.fingerprints()? {
            if !needed.contains(&fingerprint) && !Lock::is_held(&self.lock_file(&fingerprint.to_string()))? {
                let folder = self.entry(&fingerprint);
                leftovers.extend(self.leftover(Sort::Entry, &folder, about(&folder, &fingerprint))?);
            }
        }
        Ok(leftovers)
    }

    /// The entries in the plans of active runs.
    fn entries_in_use(&self) -> Result<BTreeSet<Fingerprint>, StoreError> {
        let mut in_use = BTreeSet::new();
        for record in self.names_below("runs")? {
            if Lock::is_held(&self.run_lock_file(&record))? {
                in_use.extend(planned(&self.root.join("runs").join(record).join("plan.json"))?);
            }
        }
        Ok(in_use)
    }

    fn left_images(&self, keep: &Keep) -> Result<Vec<Leftover>, StoreError> {
        let mut leftovers = Vec::new();
        for name in self.names_below("data")? {
            let folder = self.root.join("data").join(&name);
            let kept = keep.images.contains(&folder);
            // In a kept folder, files other than images were left by a killed process.
            let left = |file: &str| {
                let stays = (kept && file == "pixels") || is_being_written(&folder.join(file))?;
                Ok(!stays)
            };
            leftovers.extend(self.left_below(&format!("data/{name}"), Sort::Images, left)?);
        }
        Ok(leftovers)
    }

    fn left_partial(&self, needed: &BTreeSet<Fingerprint>) -> Result<Vec<Leftover>, StoreError> {
        self.left_below("partial", Sort::Partial, |name| {
            let goes_on = name
                .parse::<Fingerprint>()
                .is_ok_and(|fingerprint| needed.contains(&fingerprint) && !self.entry(&fingerprint).exists());
            Ok(!goes_on && !Lock::is_held(&self.lock_file(name))?)
        })
    }

    fn left_runs(&self) -> Result<Vec<Leftover>, StoreError> {
        let records = self.names_below("runs")?;
        let old: BTreeSet<_> = records.iter().rev().skip(KEPT_RUNS).collect();
        self.left_below("runs", Sort::Run, |record| {
            Ok(old.contains(&record.to_string()) && !Lock::is_held(&self.run_lock_file(record))?)
        })
    }

    /// Everything in a folder of the store for which `is_left` is true, by name.
    fn left_below(
        &self,
        folder: &str,
        sort: Sort,
        is_left: impl Fn(&str) -> Result<bool, StoreError>,
    ) -> Result<Vec<Leftover>, StoreError> {
        let mut leftovers = Vec::new();
        for name in self.names_below(folder)? {
            if is_left(&name)? {
                leftovers.extend(self.leftover(sort, &self.root.join(folder).join(name), String::new())?);
            }
        }
        Ok(leftovers)
    }

    /// Sorted names in a folder of the store; empty if there is no such folder.
    fn names_below(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let folder = self.root.join(folder);
        let mut names = if folder.is_dir() { names(&folder)? } else { Vec::new() };
        names.sort();
        Ok(names)
    }

    /// `None` if it was removed in the meantime.
    fn leftover(&self, sort: Sort, path: &Path, about: String) -> Result<Option<Leftover>, StoreError> {
        let below = path.strip_prefix(&self.root).unwrap_or(path).to_path_buf();
        let bytes = match bytes(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|source| StoreError::io("read", path, source))?,
        };
        Ok(Some(Leftover { sort, path: below, bytes, about }))
    }

    fn free_whole(&self, path: &Path) -> Result<bool, StoreError> {
        let _removing = self.lock_removal()?;
        if path.exists() {
            self.take_out(path)?;
        }
        Ok(true)
    }
}

/// Kind and stages of an entry, if it can be read.
fn about(folder: &Path, fingerprint: &Fingerprint) -> String {
    match entry::manifest(folder, fingerprint) {
        Ok(Some(manifest)) => format!("{} {}", manifest.header.kind, manifest.header.stage_ids.join(", ")),
        _ => String::new(),
    }
}

/// The fingerprints in the `plan.json` of a run at work.
fn planned(path: &Path) -> Result<Vec<Fingerprint>, StoreError> {
    let read = fs::read(path).map_err(|error| error.to_string());
    let plan = read.and_then(|json| serde_json::from_slice(&json).map_err(|error| error.to_string()));
    let plan: Value = plan.map_err(|problem| {
        let problem =
            format!("{problem}; its run is active: try again later, at the latest when it has ended");
        StoreError::content("read", path, ContentError::Malformed(problem))
    })?;
    let stages = plan["stages"].as_array().into_iter().flatten();
    Ok(stages.filter_map(|stage| stage["fingerprint"].as_str()?.parse().ok()).collect())
}

/// A process that writes decoded images holds a lock on their file.
fn is_being_written(path: &Path) -> Result<bool, StoreError> {
    let free = File::options().write(true).open(path).and_then(|file| is_free(&file));
    match free {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        free => free.map(|free| !free).map_err(|source| StoreError::io("lock", path, source)),
    }
}

/// Remove a file of decoded images, and its folder if it is empty.
fn free_unless_written(path: &Path) -> std::io::Result<bool> {
    let file = match File::options().write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        file => file?,
    };
    if !lock_now(&file)? {
        return Ok(false);
    }
    fs::remove_file(path)?;
    if let Some(folder) = path.parent() {
        // Others may be there, or about to be.
        let _ = fs::remove_dir(folder);
    }
    Ok(true)
}

/// Total size of all files at or below a path, without following links.
fn bytes(path: &Path) -> std::io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    let mut sum = 0;
    for below in fs::read_dir(path)? {
        sum += bytes(&below?.path())?;
    }
    Ok(sum)
}
