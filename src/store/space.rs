//! Free disk space of the store.

use super::{Store, StoreError};

impl Store {
    /// Free bytes for this user on the store's disk, ignoring quotas. `None` on systems other than Unix, where it is
    /// not known.
    ///
    /// # Errors
    /// The store was removed, or the disk does not respond.
    #[cfg(unix)]
    pub fn available_bytes(&self) -> Result<Option<u64>, StoreError> {
        self.present()?;
        let disk = rustix::fs::statvfs(&self.root);
        let disk = disk.map_err(|error| StoreError::io("get the free space of", &self.root, error.into()))?;
        Ok(Some(disk.f_bavail.saturating_mul(disk.f_frsize)))
    }

    /// Free bytes for this user on the store's disk: unknown on this system.
    ///
    /// # Errors
    /// The store was removed.
    #[cfg(not(unix))]
    pub fn available_bytes(&self) -> Result<Option<u64>, StoreError> {
        self.present().map(|()| None)
    }
}
