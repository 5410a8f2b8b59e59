//! Redirects a worker's stderr to the log of the current stage, so that the log has what a library or the system writes
//! on a crash.

use std::fs::File;

/// Stderr goes to a stage's log until this value is dropped.
#[derive(Debug)]
pub(super) struct OwnLog {
    #[cfg(unix)]
    before: Option<std::os::fd::OwnedFd>,
}

#[cfg(unix)]
impl OwnLog {
    /// Redirect stderr. If that fails, stderr is unchanged, and the log has less detail.
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

/// On other systems, stderr is not redirected.
#[cfg(not(unix))]
impl OwnLog {
    pub(super) fn redirect_to(_: &File) -> Self {
        Self {}
    }
}
