//! `staging/`: folders in which entries and small files are written before they are renamed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{Lock, Store, StoreError, claim};

/// Start of the names of folders in `staging`; the computer follows.
const STAGING: &str = "on-";

impl Store {
    /// Run `work` in a temporary folder on the store's disk, which is removed afterwards.
    pub(super) fn staged<T>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.present()?;
        let _at_work = Lock::share(&self.lock_file("staging"))?;
        let all = self.root.join("staging");
        let staging =
            tempfile::Builder::new().prefix(&format!("{STAGING}{}-", claim::node())).tempdir_in(&all);
        let staging = staging.map_err(|source| StoreError::io("create a folder in", &all, source))?;
        work(staging.path())
    }

    /// Remove what killed processes left in `staging`. Active writers share a lock, so if the exclusive lock is free,
    /// everything there is left over.
    pub(super) fn sweep(&self) -> Result<(), StoreError> {
        let Some(_alone) = Lock::try_now(&self.lock_file("staging"))? else { return Ok(()) };
        let staging = self.root.join("staging");
        let failed = |source| StoreError::io("remove what was left in", &staging, source);
        for left in fs::read_dir(&staging).map_err(failed)? {
            let left = left.map_err(failed)?;
            // Files are those of other programs. A folder that cannot be removed does no harm.
            if left.file_type().is_ok_and(|sort| sort.is_dir())
                && !is_in_use_elsewhere(&left)
                && let Err(error) = fs::remove_dir_all(left.path())
            {
                tracing::info!("failed to remove {}: {error}", left.path().display());
            }
        }
        Ok(())
    }
}

/// Whether a folder in `staging` may be in use on another computer, whose shared lock may not be seen here.
fn is_in_use_elsewhere(folder: &fs::DirEntry) -> bool {
    const DAY: Duration = Duration::from_secs(86_400);
    let name = folder.file_name().to_string_lossy().into_owned();
    let other = name.strip_prefix(STAGING).is_some_and(|rest| !rest.starts_with(&claim::node()));
    let age = || folder.metadata()?.modified();
    other && age().is_ok_and(|time| time.elapsed().is_ok_and(|age| age < DAY))
}
