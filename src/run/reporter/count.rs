//! One line at the bottom of the terminal that counts, for commands without stages.

use std::time::{Duration, Instant};

use super::Throttle;
use super::layout::Layout;
use super::screen::{erase_bars, redraw, size};

/// Minimum time between two drawings; quick work draws nothing.
const INTERVAL: Duration = Duration::from_millis(200);

/// Draws on stderr; erased when dropped.
#[derive(Debug)]
pub struct Count {
    what: &'static str,
    of: usize,
    color: bool,
    start: Instant,
    throttle: Throttle,
}

impl Count {
    /// Counts up to `of`; `what` is counted, in the plural.
    pub fn new(what: &'static str, of: usize, color: bool) -> Self {
        Self { what, of, color, start: Instant::now(), throttle: Throttle::new(INTERVAL) }
    }

    /// Shows the number that is done.
    pub fn done(&mut self, done: usize) {
        if self.throttle.ready() {
            let layout = Layout { columns: size().columns, color: self.color };
            redraw(vec![layout.count(done, self.of, self.what, self.start.elapsed().as_secs_f64())], "");
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        erase_bars();
    }
}
