//! What nobody needs any more: found, and taken out.
//!
//! | what | is left over unless |
//! |---|---|
//! | an entry | it is needed (to be kept, or in the plan of a run at work), or somebody is making it |
//! | what was set aside as damaged | |
//! | decoded images | they are to be kept; a file that is being written stays anyhow |
//! | a training that was not finished | its entry is needed and not there yet, or somebody is making it |
//! | a run's record | it is among the newest, or the run is at work |
//! | a lock's file | somebody holds it |
//!
//! A run at work holds a lock of its own, see [`Store::lock_run`]. What is taken out is renamed first, so
//! a reader finds it whole or not at all; a file that is open or mapped stays readable on Unix.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::lock::lock_now;
use super::{ContentError, Lock, Store, StoreError, entry, names};
use identity::Fingerprint;

/// Records that are kept, the newest first.
pub const KEPT_RUNS: usize = 20;

/// What must stay.
#[derive(Clone, Debug, Default)]
pub struct Keep {
    /// Entries, whether they are there or not.
    pub entries: BTreeSet<Fingerprint>,
    /// Folders of decoded images, by [`Store::data_cache`].
    pub images: BTreeSet<PathBuf>,
}

/// What sort of thing is left over. Things are listed in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// An entry.
    Entry,
    /// Something that was set aside.
    Damaged,
    /// A file of decoded images.
    Images,
    /// A training that was not finished.
    Partial,
    /// A run's record.
    Run,
    /// The file of a lock that nobody holds.
    Lock,
}

impl Sort {
    /// In one word.
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

/// Something that is left over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leftover {
    /// What it is.
    pub sort: Sort,
    /// Where it is, below the store's root.
    pub path: PathBuf,
    /// Sum of its files' lengths.
    pub bytes: u64,
    /// Of an entry, its kind and the stages that made it.
    pub about: String,
}

impl Store {
    /// Everything that is left over if this is kept, by sort and name. Changes nothing.
    ///
    /// # Errors
    /// A folder that cannot be read; a run that has just begun.
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

    /// Removes something that is left over. `false` if somebody is making or using it now; it then stays.
    ///
    /// # Errors
    /// No right to write there.
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
            // Whoever lets go of a lock removes its file.
            Sort::Lock => Ok(Lock::try_now(&path)?.is_some()),
        }
    }

    /// Marks a run as being at work, as long as it is held: nothing that the run's plan has is left over.
    /// `record` is the name of its folder in `runs/`, in which `plan.json` is.
    ///
    /// # Errors
    /// A lock file that cannot be opened, a file system without locks.
    pub fn lock_run(&self, record: &str) -> Result<Lock, StoreError> {
        self.present()?;
        Lock::wait(&self.run_lock_file(record))
    }

    /// Whether a run is at work, by the name of its folder in `runs/`.
    ///
    /// # Errors
    /// A lock file that cannot be opened, a file system without locks.
    pub fn is_at_work(&self, record: &str) -> Result<bool, StoreError> {
        Lock::is_held(&self.run_lock_file(record))
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

    /// What the plans of the runs at work have.
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
            // In a folder that is kept, what lies beside the images was left by a killed process.
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

    /// What lies in a folder of the store and `is_left`, by name.
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

    /// Names of what lies in a folder of the store, sorted; none if there is no such folder.
    fn names_below(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let folder = self.root.join(folder);
        let mut names = if folder.is_dir() { names(&folder)? } else { Vec::new() };
        names.sort();
        Ok(names)
    }

    /// `None` if it has gone meanwhile.
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
        let problem = format!("{problem}; its run is at work: try again, at the latest when it has ended");
        StoreError::content("read", path, ContentError::Malformed(problem))
    })?;
    let stages = plan["stages"].as_array().into_iter().flatten();
    Ok(stages.filter_map(|stage| stage["fingerprint"].as_str()?.parse().ok()).collect())
}

/// Whoever writes decoded images holds a lock on their file.
fn is_being_written(path: &Path) -> Result<bool, StoreError> {
    let free = File::options().write(true).open(path).and_then(|file| lock_now(&file));
    match free {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        free => free.map(|free| !free).map_err(|source| StoreError::io("lock", path, source)),
    }
}

/// Removes a file of decoded images, and its folder with the last one.
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
        // Others may lie there, or be about to.
        let _ = fs::remove_dir(folder);
    }
    Ok(true)
}

/// Sum of the lengths of all files at or below a path; links are not followed.
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
