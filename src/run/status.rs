//! The state of a current or earlier run, read from its events.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::executor::slurm::overview::{Overview, overview};
use super::folder::{EVENTS, Line};
use super::{Event, RunError};
use store::Store;
use train::Progress;

/// Progress of a run, or how it ended. Stages are identified by their ids.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunStatus {
    /// Name of its folder: `<UTC time>-<experiment>`.
    pub run: String,
    /// The experiment's name.
    pub experiment: String,
    /// Its state.
    pub state: RunState,
    /// Seconds from its start to the last event.
    pub seconds: f64,
    /// Stages to make.
    pub stages: usize,
    /// Stages whose results were in the store at the start.
    pub fresh: usize,
    /// Stages made by this run, or found to be made by another one.
    pub done: usize,
    /// Running stages with their latest progress.
    pub running: BTreeMap<String, Option<Progress>>,
    /// Failed stages with their error messages.
    pub failed: BTreeMap<String, String>,
    /// Stages skipped because another one failed.
    pub skipped: usize,
    /// How stages stand on a cluster, if the run's are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slurm: Option<Overview>,
}

/// State of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It is running.
    Running,
    /// It ran to the end.
    Finished,
    /// The user interrupted it.
    Interrupted,
    /// It has left its stages to a cluster, or was killed meanwhile: they go on.
    Detached,
    /// It was killed, or ended with an error.
    #[default]
    Died,
}

/// The status of all runs with an event log, oldest first.
///
/// # Errors
/// A record cannot be read.
pub fn statuses(store: &Store) -> Result<Vec<RunStatus>, RunError> {
    let mut statuses =
        runs(store)?.iter().map(|folder| status(store, folder)).collect::<Result<Vec<_>, RunError>>()?;
    let mut seen = BTreeSet::new();
    // What is on a cluster belongs to the last run of an experiment.
    for status in statuses.iter_mut().rev() {
        if seen.insert(status.experiment.clone()) && !status.state.has_ended() {
            status.slurm = overview(store.root(), &status.experiment)?;
            if status.slurm.is_some() && status.state == RunState::Died {
                status.state = RunState::Detached;
            }
        }
    }
    Ok(statuses)
}

impl RunState {
    fn has_ended(self) -> bool {
        matches!(self, Self::Finished | Self::Interrupted)
    }
}

/// Folders of all runs with an event log, oldest first.
fn runs(store: &Store) -> Result<Vec<PathBuf>, RunError> {
    let folder = store.root().join("runs");
    let failed = |source| RunError::Record { path: folder.clone(), source };
    let entries = fs::read_dir(&folder).map_err(failed)?;
    let mut runs =
        entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect::<Result<Vec<_>, RunError>>()?;
    runs.retain(|run| run.join(EVENTS).exists());
    runs.sort();
    Ok(runs)
}

/// The status of the run in this folder.
fn status(store: &Store, folder: &Path) -> Result<RunStatus, RunError> {
    let path = folder.join(EVENTS);
    let text = fs::read_to_string(&path).map_err(|source| RunError::Record { path, source })?;
    // The last line may be incomplete.
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Line<Event>>(line).ok());
    let run = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut status = RunStatus { run, ..RunStatus::default() };
    lines.for_each(|line| status.update(line));
    if status.state == RunState::Died && store.is_at_work(&status.run)? {
        status.state = RunState::Running;
    }
    Ok(status)
}

impl RunStatus {
    fn update(&mut self, Line { at, event }: Line<Event>) {
        self.seconds = at;
        match event {
            Event::RunStarted { experiment, stages, fresh, .. } => {
                (self.experiment, self.stages, self.fresh) = (experiment, stages, fresh);
            }
            Event::StageStarted { stage, .. } | Event::StageWaiting { stage } => {
                self.running.insert(stage, None);
            }
            Event::StageProgress { stage, progress } => {
                self.running.insert(stage, Some(progress));
            }
            Event::StageFinished { stage, .. } | Event::StageFound { stage } => {
                self.running.remove(&stage);
                self.done += 1;
            }
            Event::StageFailed { stage, message } => {
                self.running.remove(&stage);
                self.failed.insert(stage, message);
            }
            Event::StageRetried { stage, .. }
            | Event::StageReturned { stage, .. }
            | Event::StageStopped { stage } => {
                self.running.remove(&stage);
            }
            Event::StageSkipped { .. } => self.skipped += 1,
            Event::StageWarning { .. } | Event::ExecutorSaid { .. } => {}
            Event::RunFinished { interrupted, .. } => {
                self.state = if interrupted { RunState::Interrupted } else { RunState::Finished };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::Reporter;
    use super::super::folder::RunFolder;
    use super::super::reporter::tests::a_run;
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        (root, store)
    }

    /// Status during the run, and afterwards.
    fn status_after(events: &[Event]) -> (RunStatus, RunStatus) {
        let (root, store) = store();
        let folder = RunFolder::create(root.path(), "tiny", SystemTime::UNIX_EPOCH).unwrap();
        let lock = store.lock_run(&folder.name()).unwrap();
        let mut log = folder.event_log().unwrap();
        events.iter().for_each(|event| log.event(event));
        let path = runs(&store).unwrap().remove(0);
        let during = status(&store, &path).unwrap();
        drop(lock);
        (during, status(&store, &path).unwrap())
    }

    #[test]
    fn the_status_follows_the_events() {
        let (during, after) = status_after(&a_run()[..4]);
        assert_eq!((during.state, after.state), (RunState::Running, RunState::Died));
        assert!(matches!(&during.running["probe[seed=0]"], Some(Progress::Epoch(record)) if record.best));
        assert_eq!((during.stages, during.fresh, during.done), (4, 2, 0));
        let (_, after) = status_after(&a_run());
        assert_eq!((after.state, after.done, after.skipped), (RunState::Finished, 2, 1));
        assert_eq!(after.failed["merged"], "the sources differ");
        assert!(after.running.is_empty());
    }

    #[test]
    fn an_incomplete_line_is_ignored() {
        let (root, store) = store();
        let folder = root.path().join("run");
        fs::create_dir(&folder).unwrap();
        let whole = r#"{"at":1.5,"event":"run_started","experiment":"tiny","stages":3,"fresh":0}"#;
        fs::write(folder.join(EVENTS), format!("{whole}\n{{\"at\":2.0,\"eve")).unwrap();
        let status = status(&store, &folder).unwrap();
        assert_eq!((status.experiment.as_str(), status.stages, status.seconds), ("tiny", 3, 1.5));
    }
}
