//! What asks a worker to stop: its run, or a signal to its process.

use std::sync::atomic::{AtomicBool, Ordering};

/// Raised by other threads of a worker, looked at by whoever makes a stage.
#[derive(Debug, Default)]
pub struct Signals {
    /// The run asks to stop, or is gone.
    stopped: AtomicBool,
    /// The process got a signal to end.
    terminated: AtomicBool,
    /// A stage is being made.
    busy: AtomicBool,
}

// Each of two threads writes one of `terminated` and `busy` and then reads the other one: in one order of all accesses
// at least one of them sees what the other wrote.
impl Signals {
    /// The run asks to stop what is being made.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Another order came: what the run asked before is of the past.
    pub fn go_on(&self) {
        self.stopped.store(false, Ordering::SeqCst);
    }

    /// The process got a signal to end. Returns whether to end at once: nothing is being made, or it is not the first
    /// signal.
    pub fn terminate(&self) -> bool {
        let again = self.terminated.swap(true, Ordering::SeqCst);
        again || !self.busy.load(Ordering::SeqCst)
    }

    /// Work begins. Returns whether it may: no signal came before.
    pub fn begin(&self) -> bool {
        self.busy.store(true, Ordering::SeqCst);
        !self.is_terminated()
    }

    /// Work ended. Returns whether there may be more: no signal came meanwhile.
    pub fn end(&self) -> bool {
        self.busy.store(false, Ordering::SeqCst);
        !self.is_terminated()
    }

    /// Whether to stop what is being made.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.is_terminated()
    }

    /// Whether the process got a signal to end.
    pub fn is_terminated(&self) -> bool {
        self.terminated.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ends_an_idle_process_at_once_and_a_busy_one_after_its_work() {
        assert!(Signals::default().terminate());
        let signals = Signals::default();
        assert!(signals.begin());
        assert!(!signals.terminate() && signals.is_stopped());
        assert!(signals.terminate(), "the second signal");
        assert!(!signals.end());
    }

    #[test]
    fn what_a_run_asked_to_stop_is_of_the_past_when_another_order_comes() {
        let signals = Signals::default();
        signals.stop();
        assert!(signals.is_stopped() && !signals.is_terminated());
        signals.go_on();
        assert!(!signals.is_stopped() && signals.begin() && signals.end());
    }
}
