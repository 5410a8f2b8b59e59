//! The allocator of programs that train.
//!
//! A training step frees and allocates the same large activations again. This allocator keeps their pages, where the
//! system's would return them to the kernel, which then clears each page again.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Return no memory to the system.
pub(crate) fn keep_memory() {
    /// `mi_option_purge_delay` of mimalloc 2 and 3: milliseconds until unused memory is returned, -1 for never.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: setting an option only stores a number.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}
