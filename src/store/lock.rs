//! Advisory locks between processes and threads, by files that go when their holder lets go.
//!
//! The system lets go of a lock when its holder ends, however it ends. To remove a file for which somebody
//! waits could leave two holders, each with a file of the same name. So whoever has locked a file looks
//! whether it still is the one of that name, and starts over if not. From then on the name is the holder's,
//! for only who holds the named file alone removes it. Who shares a lock leaves the file to the others.
//!
//! Where files cannot be told apart (elsewhere than on Unix), they all stay.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::StoreError;

/// Held until dropped.
#[derive(Debug)]
pub struct Lock {
    /// The system's lock goes with it.
    file: File,
    path: PathBuf,
    alone: bool,
}

impl Lock {
    /// Waits until nobody else holds it.
    pub(crate) fn wait(path: &Path) -> Result<Self, StoreError> {
        let (file, ()) = locked(path, File::lock)?;
        Ok(Self { file, path: path.into(), alone: true })
    }

    /// Waits until nobody else holds it but others who share it.
    pub(crate) fn share(path: &Path) -> Result<Self, StoreError> {
        let (file, ()) = locked(path, File::lock_shared)?;
        Ok(Self { file, path: path.into(), alone: false })
    }

    /// `None` if anybody else holds or shares it.
    pub(crate) fn try_now(path: &Path) -> Result<Option<Self>, StoreError> {
        let (file, had) = locked(path, lock_now)?;
        Ok(had.then(|| Self { file, path: path.into(), alone: true }))
    }

    /// Whether anybody holds or shares it. The file stays.
    pub(crate) fn is_held(path: &Path) -> Result<bool, StoreError> {
        let failed = |source| StoreError::io("open the lock", path, source);
        match File::options().write(true).open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            opened => Ok(!opened.and_then(|file| lock_now(&file)).map_err(failed)?),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.alone && cfg!(unix) && is_named(&self.file, &self.path).unwrap_or(false) {
            // A file that stays does no harm.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens and locks the file of a name: the one that still has it afterwards. Also says what locking said.
fn locked<T>(path: &Path, lock: impl Fn(&File) -> io::Result<T>) -> Result<(File, T), StoreError> {
    loop {
        let file = File::options().create(true).truncate(false).write(true).open(path);
        let file = file.map_err(|source| StoreError::io("open the lock", path, source))?;
        let said = lock(&file).and_then(|said| Ok((said, is_named(&file, path)?)));
        let (said, named) = said.map_err(|source| StoreError::io("lock", path, source))?;
        if named {
            return Ok((file, said));
        }
    }
}

/// Whether the lock was to be had.
pub(super) fn lock_now(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether an open file is the one of that name.
#[cfg(unix)]
fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let named = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        named => named?,
    };
    let open = file.metadata()?;
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
}

/// Files stay, so it always is.
#[cfg(not(unix))]
fn is_named(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}
