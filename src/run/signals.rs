//! Worker side: requests to stop, from the run or by a signal.

use std::sync::atomic::{AtomicBool, Ordering};

/// Flags set by other threads of a worker and checked while a stage is being made.
#[derive(Debug, Default)]
pub struct Signals {
    /// The run asked to stop, or has ended.
    stopped: AtomicBool,
    /// The process received a signal to end.
    terminated: AtomicBool,
    /// A stage is being made.
    busy: AtomicBool,
}

// One thread writes `terminated` and then reads `busy`; the other writes `busy` and then reads `terminated`. With
// sequentially consistent ordering, at least one of them sees the other's write.
impl Signals {
    /// Request to stop the current stage.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Another order has arrived: clear the request to stop.
    pub fn resume(&self) {
        self.stopped.store(false, Ordering::SeqCst);
    }

    /// The process received a signal. Returns whether to exit immediately: the worker is idle, or it is the second signal.
    pub fn terminate(&self) -> bool {
        let again = self.terminated.swap(true, Ordering::SeqCst);
        again || !self.busy.load(Ordering::SeqCst)
    }

    /// Start work. Returns whether to proceed: no signal has been received.
    pub fn begin(&self) -> bool {
        self.busy.store(true, Ordering::SeqCst);
        !self.is_terminated()
    }

    /// End work. Returns whether to continue with the next order: no signal has been received.
    pub fn end(&self) -> bool {
        self.busy.store(false, Ordering::SeqCst);
        !self.is_terminated()
    }

    /// Whether to stop the current stage.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.is_terminated()
    }

    /// Whether the process received a signal to end.
    pub fn is_terminated(&self) -> bool {
        self.terminated.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ends_an_idle_process_immediately_and_a_busy_one_after_its_work() {
        assert!(Signals::default().terminate());
        let signals = Signals::default();
        assert!(signals.begin());
        assert!(!signals.terminate() && signals.is_stopped());
        assert!(signals.terminate(), "the second signal");
        assert!(!signals.end());
    }

    #[test]
    fn another_order_clears_a_request_to_stop() {
        let signals = Signals::default();
        signals.stop();
        assert!(signals.is_stopped() && !signals.is_terminated());
        signals.resume();
        assert!(!signals.is_stopped() && signals.begin() && signals.end());
    }
}
