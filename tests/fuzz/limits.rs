//! Limits of one input: memory and time. Beyond them the process ends, and the process that started it reports the
//! input.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Maximum heap memory in bytes.
pub(crate) const BYTES: usize = 1 << 30;

/// Maximum computing time of one input, of all threads together.
pub(crate) const SECONDS: i64 = 5;

/// Maximum elapsed time of one input: much longer, because a busy machine is no hang.
pub(crate) const SECONDS_WAITING: i64 = 60;

/// The system's allocator with a limit: beyond it, allocations fail as they do on a full machine.
struct Limited;

#[global_allocator]
static MEMORY: Limited = Limited;

static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Peak heap memory in bytes.
pub(crate) fn peak() -> usize {
    PEAK.load(Ordering::Relaxed)
}

impl Limited {
    /// Whether `more` bytes are within the limit; then they are counted.
    fn admits(more: usize) -> bool {
        let used = USED.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        if used > BYTES {
            USED.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        PEAK.fetch_max(used, Ordering::Relaxed);
        true
    }
}

// SAFETY: `System` allocates; this only counts, and refuses with a null pointer, as the trait asks.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !Self::admits(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !Self::admits(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) };
    }
}

/// Start the clocks of an input anew; when one runs out, a signal ends this process.
#[cfg(unix)]
pub(crate) fn start_clocks() {
    for (clock, seconds) in [(libc::ITIMER_PROF, SECONDS), (libc::ITIMER_REAL, SECONDS_WAITING)] {
        let never = libc::timeval { tv_sec: 0, tv_usec: 0 };
        let timer =
            libc::itimerval { it_interval: never, it_value: libc::timeval { tv_sec: seconds, ..never } };
        // SAFETY: the timer lives during the call, which stores no pointer.
        unsafe { libc::setitimer(clock, &timer, std::ptr::null_mut()) };
    }
}

#[cfg(not(unix))]
pub(crate) fn start_clocks() {}
