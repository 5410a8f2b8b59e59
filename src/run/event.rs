//! Everything that happens in a run, as `events.jsonl` and `--log-format json` have it.

use serde::{Deserialize, Serialize};

use super::Outcome;
use train::Progress;

/// Something that happened in a run. Stages are named by their ids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// The plan is made; stages start now.
    RunStarted {
        /// The experiment's name.
        experiment: String,
        /// Stages to make.
        stages: usize,
        /// Stages whose results are in the store already.
        fresh: usize,
    },
    /// A stage starts.
    StageStarted {
        /// Which.
        stage: String,
        /// Its kind, as written in the experiment file.
        kind: String,
        /// How many have started, it included.
        number: usize,
        /// Stages to make.
        of: usize,
        /// Threads that it computes with.
        threads: usize,
    },
    /// Another run is making the stage; this one waits for it.
    StageWaiting {
        /// Which.
        stage: String,
    },
    /// A stage has a warning for a person.
    StageSaid {
        /// Which.
        stage: String,
        /// The warning.
        message: String,
    },
    /// A stage goes on.
    StageProgress {
        /// Which.
        stage: String,
        /// How far it is.
        progress: Progress,
    },
    /// A stage's result is in the store.
    StageFinished {
        /// Which.
        stage: String,
        /// Time that it took.
        seconds: f64,
    },
    /// A stage's result appeared in the store since the plan was made: another run, or another stage of
    /// the same work, made it.
    StageFound {
        /// Which.
        stage: String,
    },
    /// A stage failed.
    StageFailed {
        /// Which.
        stage: String,
        /// Why, for a person.
        message: String,
    },
    /// A stage ran out of memory beside others, and will run again alone.
    StageRetried {
        /// Which.
        stage: String,
        /// What happened, for a person.
        message: String,
    },
    /// A stage stopped since the run stops; it can go on from there.
    StageStopped {
        /// Which.
        stage: String,
    },
    /// A stage did not run, since one that it depends on failed.
    StageSkipped {
        /// Which.
        stage: String,
        /// The stage that failed.
        because_of: String,
    },
    /// No stage will start any more.
    RunFinished {
        /// Stages made.
        executed: usize,
        /// Stages whose results were in the store.
        fresh: usize,
        /// Stages that failed.
        failed: usize,
        /// Stages that did not run, since one that they depend on failed.
        skipped: usize,
        /// Time that it took.
        seconds: f64,
        /// Whether the person stopped it.
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

    /// The stage that it is of, if that says no more.
    pub fn end_of(&self) -> Option<&str> {
        match self {
            Self::StageFinished { stage, .. }
            | Self::StageFound { stage }
            | Self::StageFailed { stage, .. }
            | Self::StageRetried { stage, .. }
            | Self::StageStopped { stage } => Some(stage),
            _ => None,
        }
    }

    /// The stage that it is of, if it is soon replaced by another one of its kind: a position within an epoch, a
    /// count.
    pub fn momentary_of(&self) -> Option<&str> {
        match self {
            Self::StageProgress { stage, progress: Progress::Step { .. } | Progress::Count { .. } } => {
                Some(stage)
            }
            _ => None,
        }
    }
}
