//! Advisory locks between processes and threads, by files that are removed on release.
//!
//! The system releases a lock when its holder ends, for any reason. Removing a file that others wait for could create
//! two holders, each with a file of the same name. So after locking a file, a process checks that the name still refers
//! to it, and otherwise starts over. From then on, only the holder can remove the file. Holders of a shared lock do not
//! remove it.
//!
//! An exclusive lock also has a `claim`, which holds among computers, whatever locks their file system has.
//!
//! On systems other than Unix, files cannot be identified, and are never removed.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::StoreError;
use super::claim::Claim;

/// Interval of looking whether another computer has released a lock: at first, and at last.
const CLAIM_INTERVAL: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// A lock, held until dropped.
#[derive(Debug)]
pub struct Lock {
    /// The system's lock is released with it.
    file: File,
    path: PathBuf,
    /// The right among all computers; `None` of a shared lock.
    claim: Option<Claim>,
}

impl Lock {
    /// Wait for an exclusive lock.
    pub(crate) fn wait(path: &Path) -> Result<Self, StoreError> {
        let (file, system) = locked(path, |file| system(file.lock().map(|()| true)))?;
        let mut pause = CLAIM_INTERVAL[0];
        loop {
            if let Some(claim) = claim(path, system)? {
                return Ok(Self { file, path: path.into(), claim: Some(claim) });
            }
            thread::sleep(pause);
            pause = (pause * 2).min(CLAIM_INTERVAL[1]);
        }
    }

    /// Wait for a shared lock, which is one on this computer.
    pub(crate) fn share(path: &Path) -> Result<Self, StoreError> {
        let (file, _) = locked(path, |file| system(file.lock_shared().map(|()| true)))?;
        Ok(Self { file, path: path.into(), claim: None })
    }

    /// Try to get an exclusive lock; `None` if any lock is held.
    pub(crate) fn try_now(path: &Path) -> Result<Option<Self>, StoreError> {
        let (file, system) = locked(path, |file| system(lock_now(file)))?;
        if system == System::Held {
            return Ok(None);
        }
        let claim = claim(path, system)?;
        if claim.is_none() {
            release(&file);
        }
        Ok(claim.map(|claim| Self { file, path: path.into(), claim: Some(claim) }))
    }

    /// Whether an exclusive or shared lock is held. The file is not removed.
    pub(crate) fn is_held(path: &Path) -> Result<bool, StoreError> {
        let failed = |source| StoreError::io("open the lock", path, source);
        // Another user's may not be written.
        let opened = match File::options().write(true).open(path) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => File::open(path),
            opened => opened,
        };
        match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => {
                if !opened.and_then(|file| is_free(&file)).map_err(failed)? {
                    return Ok(true);
                }
            }
        }
        Claim::is_held_elsewhere(&claim_path(path)).map_err(failed)
    }
}

/// What the system says to an attempt to lock a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    /// It is locked now.
    Locked,
    /// Another process holds the lock.
    Held,
    /// This file system has no locks; claims are enough.
    Unsupported,
}

fn system(locked: io::Result<bool>) -> io::Result<System> {
    // As Lustre answers without `flock`, and NFS without its lock server.
    const ENOLCK: i32 = 37;
    const ENOSYS: i32 = 38;
    match locked {
        Ok(true) => Ok(System::Locked),
        Ok(false) => Ok(System::Held),
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(System::Unsupported),
        Err(error) if cfg!(target_os = "linux") && matches!(error.raw_os_error(), Some(ENOLCK | ENOSYS)) => {
            Ok(System::Unsupported)
        }
        Err(error) => Err(error),
    }
}

/// Try to get the claim that belongs to a lock.
fn claim(path: &Path, system: System) -> Result<Option<Claim>, StoreError> {
    let path = claim_path(path);
    Claim::try_now(&path, system == System::Locked).map_err(|source| StoreError::io("claim", &path, source))
}

/// `claims/a` for `locks/a.lock`.
fn claim_path(path: &Path) -> PathBuf {
    let folder = path.parent().and_then(Path::parent).unwrap_or(Path::new(""));
    folder.join("claims").join(path.file_stem().unwrap_or_default())
}

impl Lock {
    /// Release an exclusive lock, and report if its file cannot be removed.
    pub(crate) fn remove(self) -> Result<(), StoreError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(StoreError::io("remove", &self.path, error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let is_exclusive = self.claim.take().is_some();
        if is_exclusive && cfg!(unix) && is_named(&self.file, &self.path).unwrap_or(false) {
            // A remaining file does no harm.
            let _ = fs::remove_file(&self.path);
        }
        release(&self.file);
    }
}

/// Release the lock on an open file. Closing it is not enough: if another thread is just starting a process, that
/// process has a copy of the open file, and with it the lock, until it runs its own program.
fn release(file: &File) {
    // The lock is released at the latest when the file is closed everywhere.
    let _ = file.unlock();
}

/// Open and lock the file with a name, such that the name still refers to it afterwards. Also returns the result of
/// `lock`.
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

/// Try to lock a file; whether it succeeded.
pub(super) fn lock_now(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether nobody holds a lock on a file; it is not locked afterwards.
pub(super) fn is_free(file: &File) -> io::Result<bool> {
    let free = lock_now(file)?;
    if free {
        release(file);
    }
    Ok(free)
}

/// Whether the name still refers to the open file.
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

/// Files are never removed, so it always does.
#[cfg(not(unix))]
fn is_named(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the copy in a process that another thread is starting.
    fn inherited(lock: &Lock) -> File {
        lock.file.try_clone().unwrap()
    }

    #[test]
    fn f24_a_released_lock_is_free_even_if_a_new_process_still_has_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locks").join("a.lock");
        fs::create_dir(folder.path().join("locks")).unwrap();
        let shared = Lock::share(&path).unwrap();
        let copy = inherited(&shared);
        assert!(Lock::is_held(&path).unwrap());
        drop(shared);
        assert!(!Lock::is_held(&path).unwrap(), "{copy:?}");
    }

    #[test]
    fn f24_looking_whether_a_lock_is_held_does_not_hold_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locks").join("a.lock");
        fs::create_dir(folder.path().join("locks")).unwrap();
        let file = File::create(&path).unwrap();
        assert!(is_free(&file).unwrap());
        assert!(Lock::try_now(&path).unwrap().is_some(), "{file:?} is still open");
    }
}
