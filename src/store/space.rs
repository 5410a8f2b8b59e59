//! How much room there is where the store lies.

use super::{Store, StoreError};

impl Store {
    /// Bytes that this user may still write on the store's disk; quotas are not looked at. `None` where the
    /// system is not asked (elsewhere than on Unix).
    ///
    /// # Errors
    /// A store that has gone; a disk that does not answer.
    #[cfg(unix)]
    pub fn available_bytes(&self) -> Result<Option<u64>, StoreError> {
        self.present()?;
        let disk = rustix::fs::statvfs(&self.root);
        let disk =
            disk.map_err(|error| StoreError::io("ask for the free space of", &self.root, error.into()))?;
        Ok(Some(disk.f_bavail.saturating_mul(disk.f_frsize)))
    }

    /// Bytes that this user may still write on the store's disk: not known here.
    ///
    /// # Errors
    /// A store that has gone.
    #[cfg(not(unix))]
    pub fn available_bytes(&self) -> Result<Option<u64>, StoreError> {
        self.present().map(|()| None)
    }
}
