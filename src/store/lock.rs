//! Advisory locks between processes and threads: files that are locked, never removed.
//!
//! The system lets go of a lock when its holder ends, however it ends. A lock file stays where it is:
//! whoever removed one could leave two holders, each with a file of the same name.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::StoreError;

/// Held until dropped.
#[derive(Debug)]
pub struct Lock {
    /// The system's lock goes with it.
    _file: File,
}

impl Lock {
    /// Waits until nobody else holds it.
    pub(crate) fn wait(path: &Path) -> Result<Self, StoreError> {
        let file = open(path)?;
        file.lock().map_err(|source| StoreError::io("lock", path, source))?;
        Ok(Self { _file: file })
    }

    /// Waits until nobody else holds it but others who share it.
    pub(crate) fn share(path: &Path) -> Result<Self, StoreError> {
        let file = open(path)?;
        file.lock_shared().map_err(|source| StoreError::io("lock", path, source))?;
        Ok(Self { _file: file })
    }

    /// `None` if anybody else holds or shares it.
    pub(crate) fn try_now(path: &Path) -> Result<Option<Self>, StoreError> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(StoreError::io("lock", path, source)),
        }
    }
}

fn open(path: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    file.map_err(|source| StoreError::io("open the lock", path, source))
}
