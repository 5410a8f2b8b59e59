//! Entries that workers say they have made, until they appear in the store: a file system of a network may show them late.

use std::time::{Duration, Instant};

use crate::message::Ending;
use identity::Fingerprint;

/// How long to wait for an entry to appear.
const APPEAR: Duration = Duration::from_secs(120);

/// Entries that must appear before their jobs have ended: how these end then, and until when.
#[derive(Debug, Default)]
pub(super) struct Appearing(Vec<(Fingerprint, Ending, Instant)>);

impl Appearing {
    /// Wait for an entry from now on.
    pub(super) fn wait_for(&mut self, of: Fingerprint, ending: Ending, now: Instant) {
        self.0.push((of, ending, now + APPEAR));
    }

    /// Entries that have appeared by now, or did not for too long, and how their jobs end.
    pub(super) fn look(
        &mut self,
        now: Instant,
        has_appeared: impl Fn(&Fingerprint) -> bool,
    ) -> Vec<(Fingerprint, Ending)> {
        let mut ended = Vec::new();
        for (of, ending, until) in std::mem::take(&mut self.0) {
            if has_appeared(&of) {
                ended.push((of, ending));
            } else if now > until {
                let message = "its worker says that it made the entry, but the entry did not appear in the store; is its \
                               folder shared by all nodes?";
                ended.push((of, Ending::Failed(message.into())));
            } else {
                self.0.push((of, ending, until));
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_waited_for_and_missed_when_it_is_late() {
        let [soon, never] = ["soon", "never"].map(|name| Fingerprint::of_parts([name]));
        let (mut appearing, start) = (Appearing::default(), Instant::now());
        appearing.wait_for(soon, Ending::Executed { seconds: 1.0 }, start);
        appearing.wait_for(never, Ending::Found, start);
        assert_eq!(appearing.look(start, |_| false), []);
        let found = appearing.look(start + APPEAR, |of| *of == soon);
        assert_eq!(found, [(soon, Ending::Executed { seconds: 1.0 })]);
        let late = appearing.look(start + APPEAR + Duration::from_millis(1), |_| false);
        assert!(
            matches!(&late[..], [(of, Ending::Failed(why))] if *of == never && why.contains("did not appear"))
        );
        assert_eq!(appearing.look(start + APPEAR * 2, |_| true), []);
    }
}
