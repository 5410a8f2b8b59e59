//! `runs/<UTC time>-<experiment>/`: the plan of a run (`plan.json`) and its events (`events.jsonl`).

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::reporter::Throttles;
use super::utc::utc_milliseconds;
use super::{Event, Reporter, RunError};

/// File name of the event log.
pub(super) const EVENTS: &str = "events.jsonl";

/// Minimum time between two transient events of a stage.
const INTERVAL: Duration = Duration::from_secs(2);

/// Folder of a run in the store.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Create `runs/<UTC time>-<experiment>` in the store; if it exists, append a number. The time has milliseconds, so
    /// that names are in the order of starts.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn create(store_root: &Path, experiment: &str, now: SystemTime) -> Result<Self, RunError> {
        let runs = store_root.join("runs");
        fs::create_dir_all(&runs).map_err(record_error(&runs))?;
        // Some file systems allow no colons.
        let name = format!("{}-{experiment}", utc_milliseconds(now)).replace([':', '/'], "-");
        let mut path = runs.join(&name);
        let mut number = 1;
        loop {
            match fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    number += 1;
                    path = runs.join(format!("{name}-{number}"));
                }
                created => return created.map_err(record_error(&path)).map(|()| Self { path }),
            }
        }
    }

    /// Its name within `runs/`.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Write `plan.json`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_plan(&self, plan: &serde_json::Value) -> Result<(), RunError> {
        let path = self.path.join("plan.json");
        fs::write(&path, format!("{plan:#}\n")).map_err(record_error(&path))
    }

    /// A reporter that writes `events.jsonl`.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn event_log(&self) -> Result<EventLog, RunError> {
        let path = self.path.join(EVENTS);
        let file = File::create(&path).map_err(record_error(&path))?;
        Ok(EventLog { path, file: Some(file), start: Instant::now(), throttles: Throttles::new(INTERVAL) })
    }
}

fn record_error(path: &Path) -> impl FnOnce(std::io::Error) -> RunError {
    let path = path.to_owned();
    |source| RunError::Record { path, source }
}

/// Writes each event as a line of JSON with the seconds since the run started; transient events are thinned out.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    /// `None` after a write failed: the run goes on without its record.
    file: Option<File>,
    start: Instant,
    throttles: Throttles,
}

/// A line of `events.jsonl`.
#[derive(Serialize, Deserialize)]
pub(super) struct Line<E> {
    /// Seconds since the run started.
    pub(super) at: f64,
    /// What happened.
    #[serde(flatten)]
    pub(super) event: E,
}

impl Reporter for EventLog {
    fn event(&mut self, event: &Event) {
        let too_soon = event.transient_stage().is_some_and(|stage| !self.throttles.ready(stage));
        self.throttles.forget(event);
        let Some(file) = self.file.as_mut().filter(|_| !too_soon) else { return };
        let at = (self.start.elapsed().as_secs_f64() * 1e3).round() / 1e3;
        let line = serde_json::to_string(&Line { at, event }).expect("events have string keys only");
        if let Err(error) = writeln!(file, "{line}") {
            tracing::warn!("failed to write {}: {error}; the run goes on", self.path.display());
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn f05_runs_within_a_second_are_in_the_order_of_their_starts() {
        let root = tempfile::tempdir().unwrap();
        let at = |milliseconds| UNIX_EPOCH + Duration::from_millis(milliseconds);
        let name = |name: &str, time| RunFolder::create(root.path(), name, at(time)).unwrap().name();
        let names = [name("b", 999), name("a", 1001), name("a", 1010), name("a-2", 1100)];
        assert!(names.is_sorted(), "{names:?}");
        assert_eq!(names[1], "1970-01-01T00-00-01.001Z-a");
    }

    #[test]
    fn two_runs_in_one_millisecond_have_two_folders() {
        let root = tempfile::tempdir().unwrap();
        let names = [(); 3].map(|()| RunFolder::create(root.path(), "tiny", UNIX_EPOCH).unwrap().name());
        let first = "1970-01-01T00-00-00.000Z-tiny";
        assert_eq!(names, [first.into(), format!("{first}-2"), format!("{first}-3")]);
    }

    #[test]
    fn the_event_log_has_one_json_object_per_line() {
        let root = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(root.path(), "tiny", UNIX_EPOCH).unwrap();
        let event = Event::StageFound { stage: "a".into() };
        folder.event_log().unwrap().event(&event);
        let text = fs::read_to_string(folder.path.join("events.jsonl")).unwrap();
        let mut line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert!(line.as_object_mut().unwrap().remove("at").unwrap().is_f64());
        assert_eq!(serde_json::from_value::<Event>(line).unwrap(), event);
    }
}
