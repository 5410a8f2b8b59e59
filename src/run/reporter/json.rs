//! Events as lines of JSON.

use std::io::Write;
use std::time::Duration;

use super::super::Event;
use super::{Reporter, Throttles};

/// Minimum time between two transient events of a stage.
const INTERVAL: Duration = Duration::from_secs(1);

/// Writes one JSON object per line. Write errors are ignored: a run does not stop because of its reporter.
#[derive(Debug)]
pub struct Json<W> {
    out: W,
    throttles: Throttles,
}

impl<W: Write> Json<W> {
    /// Write to `out`.
    pub fn new(out: W) -> Self {
        Self { out, throttles: Throttles::new(INTERVAL) }
    }
}

impl<W: Write + Send> Reporter for Json<W> {
    fn event(&mut self, event: &Event) {
        if event.transient_stage().is_some_and(|stage| !self.throttles.ready(stage)) {
            return;
        }
        self.throttles.forget(event);
        let line = serde_json::to_string(event).expect("events have string keys only");
        let _ = writeln!(self.out, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::a_run;
    use super::*;

    #[test]
    fn every_event_is_a_line_except_transient_ones_in_quick_succession() {
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        a_run().iter().for_each(|event| json.event(event));
        let lines = String::from_utf8(out).unwrap();
        let events: Vec<Event> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let expected: Vec<Event> =
            a_run().into_iter().filter(|event| event.transient_stage().is_none()).collect();
        assert_eq!(events, expected);
        let started = r#"{"event":"stage_started","stage":"probe[seed=0]","kind":"finetune","number":1,"of":4,"threads":2,"estimate":10.0}"#;
        assert_eq!(lines.lines().nth(1), Some(started));
    }
}
