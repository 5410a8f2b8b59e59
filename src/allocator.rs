//! The allocator of programs that train: what it keeps, and when it returns memory to the system.
//!
//! A training step frees and allocates the same large activations again. Their pages are kept, where the system's
//! allocator would return them to the kernel, which then clears each page again. Without effect in a program with
//! another allocator.

use run::machine::resident_memory;

/// `mi_option_purge_delay` of mimalloc 2 and 3: milliseconds until unused memory is returned.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Longer than any stage. Not -1 for never, since unused memory would then not be known to `release_memory` either.
const DELAY_MS: std::ffi::c_long = 1 << 30;

/// A process below this size keeps all its memory: returning it costs more than it is worth, in stages of a second.
const SMALL_BYTES: u64 = 1 << 30;

/// Keep unused memory while a stage is made.
pub fn keep_memory() {
    // SAFETY: setting an option only stores a number; one that does not exist is ignored.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, DELAY_MS) };
}

/// Return unused memory to the system, between stages, so that the next one does not add its own to what the last one
/// needed.
pub(crate) fn release_memory() {
    if resident_memory().is_some_and(|bytes| bytes > SMALL_BYTES) {
        // SAFETY: it may be called at any time, and changes no memory in use.
        unsafe { libmimalloc_sys::mi_collect(true) };
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// mimalloc reads its options from the environment by name, at the start of a process.
    #[test]
    fn f23_the_number_of_the_option_is_that_of_its_name() {
        const VARIABLE: &str = "MIMALLOC_PURGE_DELAY";
        if std::env::var_os(VARIABLE).is_some_and(|value| value == "7777") {
            // SAFETY: reading an option only reads a number.
            assert_eq!(unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }, 7777);
            return;
        }
        let mut again = Command::new(std::env::current_exe().unwrap());
        let again =
            again.args(["f23_the_number_of_the_option", "--nocapture"]).env(VARIABLE, "7777").output();
        let again = again.unwrap();
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    }
}
