//! Stderr of a worker, in the log of the stage that it is making: whatever a library or the system says on a crash is
//! among the stage's last words.

use std::fs::File;

/// Stderr goes to a stage's log until this is dropped.
#[derive(Debug)]
pub(super) struct OwnLog {
    #[cfg(unix)]
    before: Option<std::os::fd::OwnedFd>,
}

#[cfg(unix)]
impl OwnLog {
    /// If the system does not let it be redirected, it stays where it is: only words are lost to the log.
    pub(super) fn redirect_to(log: &File) -> Self {
        let before = rustix::io::dup(rustix::stdio::stderr()).ok();
        let before = before.filter(|_| rustix::stdio::dup2_stderr(log).is_ok());
        Self { before }
    }
}

#[cfg(unix)]
impl Drop for OwnLog {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = rustix::stdio::dup2_stderr(before);
        }
    }
}

/// Elsewhere it stays where it is.
#[cfg(not(unix))]
impl OwnLog {
    pub(super) fn redirect_to(_: &File) -> Self {
        Self {}
    }
}
