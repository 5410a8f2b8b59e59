//! What a run and its workers say to each other: JSON, a message a line.
//!
//! A worker reads one [`Order`] from stdin and writes [`Message`]s to stdout, the last one
//! [`Message::Ended`]. It stops when its stdin ends, so no worker outlives its run.

use serde::{Deserialize, Serialize};

use experiment::Source;
use identity::Fingerprint;
use train::Progress;

/// Which stage to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The experiment as it was read: the file may have changed since.
    pub source: Source,
    /// The stage's id.
    pub stage: String,
    /// What it must make.
    pub fingerprint: Fingerprint,
    /// Whether to make it even if the store has it.
    pub anew: bool,
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Another run is making the stage.
    Waiting,
    /// How far it is.
    Progress(Progress),
    /// A warning, for a person.
    Said(String),
    /// The last message.
    Ended(Ending),
}

/// How a worker's work ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The stage was made.
    Executed {
        /// Time that it took.
        seconds: f64,
    },
    /// Its entry was in the store.
    Found,
    /// The stage failed: what depends on it is skipped, the rest goes on.
    Failed(String),
    /// There was not enough memory.
    OutOfMemory(String),
    /// It was asked to stop.
    Interrupted,
    /// No stage can go on: the store or the device failed.
    Stopped(String),
}
