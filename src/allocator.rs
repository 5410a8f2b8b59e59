//! The allocator of programs that train.
//!
//! A training step frees and allocates the same large activations again. This allocator keeps their pages, where the
//! system's would return them to the kernel, which then clears each page again.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc 2 and 3: milliseconds until unused memory is returned, -1 for never.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Return no memory to the system.
pub(crate) fn keep_memory() {
    // SAFETY: setting an option only stores a number; one that does not exist is ignored.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}

#[cfg(test)]
mod tests {
    /// mimalloc reads its options from the environment by name, at the start of a process.
    #[test]
    fn f23_the_number_of_the_option_is_that_of_its_name() {
        use super::PURGE_DELAY;
        const VARIABLE: &str = "MIMALLOC_PURGE_DELAY";
        if std::env::var_os(VARIABLE).is_some_and(|value| value == "7777") {
            // SAFETY: reading an option only reads a number.
            assert_eq!(unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }, 7777);
            return;
        }
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        let again =
            again.args(["f23_the_number_of_the_option", "--nocapture"]).env(VARIABLE, "7777").output();
        let again = again.unwrap();
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    }
}
