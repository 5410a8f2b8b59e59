//! Events of a run, as written to `events.jsonl` and by `--log-format json`.

use serde::{Deserialize, Serialize};

use super::Outcome;
use train::Progress;

/// An event of a run. Stages are identified by their ids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// The plan is ready; stages are about to start.
    RunStarted {
        /// The experiment's name.
        experiment: String,
        /// Stages to make.
        stages: usize,
        /// Stages whose results are already in the store.
        fresh: usize,
        /// Sum of the estimated times of all stages in seconds, each alone on all threads.
        #[serde(default)]
        estimate: f64,
    },
    /// A stage has started.
    StageStarted {
        /// The stage.
        stage: String,
        /// Its kind, as written in the experiment file.
        kind: String,
        /// Number of stages started so far, including this one.
        number: usize,
        /// Stages to make.
        of: usize,
        /// Number of threads for this stage.
        threads: usize,
        /// Its estimated time in seconds, alone on all threads.
        #[serde(default)]
        estimate: f64,
    },
    /// Another run is making this stage; this run waits for it.
    StageWaiting {
        /// The stage.
        stage: String,
    },
    /// A stage issued a warning.
    #[serde(rename = "stage_said")]
    StageWarning {
        /// The stage.
        stage: String,
        /// The text of the warning.
        message: String,
    },
    /// A stage made progress.
    StageProgress {
        /// The stage.
        stage: String,
        /// Its current progress.
        progress: Progress,
    },
    /// A stage's result is in the store.
    StageFinished {
        /// The stage.
        stage: String,
        /// Elapsed time in seconds.
        seconds: f64,
    },
    /// A stage's result appeared in the store after planning: another run, or another stage with the same fingerprint,
    /// made it.
    StageFound {
        /// The stage.
        stage: String,
    },
    /// A stage failed.
    StageFailed {
        /// The stage.
        stage: String,
        /// The error message.
        message: String,
    },
    /// A stage ran out of memory while sharing a device; it will be retried alone.
    StageRetried {
        /// The stage.
        stage: String,
        /// The error message.
        message: String,
    },
    /// A stage was stopped where it ran, and waits for its turn again; training resumes.
    StageReturned {
        /// The stage.
        stage: String,
        /// Why it was stopped.
        message: String,
    },
    /// Something happened to the place where stages run.
    ExecutorSaid {
        /// What happened.
        message: String,
    },
    /// A stage was stopped because the run is stopping; it can be resumed.
    StageStopped {
        /// The stage.
        stage: String,
    },
    /// A stage was skipped because a stage it depends on failed.
    StageSkipped {
        /// The stage.
        stage: String,
        /// The failed stage.
        because_of: String,
        /// Its estimated time in seconds, alone on all threads.
        #[serde(default)]
        estimate: f64,
    },
    /// The run has ended.
    RunFinished {
        /// Stages made.
        executed: usize,
        /// Stages whose results were already in the store.
        fresh: usize,
        /// Stages that failed.
        failed: usize,
        /// Stages that were skipped because a stage they depend on failed.
        skipped: usize,
        /// Elapsed time in seconds.
        seconds: f64,
        /// Whether the user interrupted it.
        interrupted: bool,
    },
}

impl Event {
    /// The last event of a run.
    pub fn run_finished(outcome: &Outcome) -> Self {
        Self::RunFinished {
            executed: outcome.executed,
            fresh: outcome.fresh,
            failed: outcome.failed.len(),
            skipped: outcome.skipped.len(),
            seconds: outcome.seconds,
            interrupted: outcome.interrupted,
        }
    }

    /// The stage whose attempt this event ends, if any.
    pub fn ended_stage(&self) -> Option<&str> {
        match self {
            Self::StageFinished { stage, .. }
            | Self::StageFound { stage }
            | Self::StageFailed { stage, .. }
            | Self::StageRetried { stage, .. }
            | Self::StageReturned { stage, .. }
            | Self::StageStopped { stage } => Some(stage),
            _ => None,
        }
    }

    /// The stage of a transient event, which the next one of its kind supersedes: a position within an epoch, a count.
    pub fn transient_stage(&self) -> Option<&str> {
        match self {
            Self::StageProgress { stage, progress: Progress::Step { .. } | Progress::Count { .. } } => {
                Some(stage)
            }
            _ => None,
        }
    }
}
