//! What a run and its workers say to each other: JSON, a line each.
//!
//! A worker reads [`Request`]s from stdin and makes what each order says, one after the other; the next order comes
//! only after the end of the one before. To stdout it writes [`Message`]s: for each order first [`Message::Begun`], last
//! [`Message::Ended`]. The end of stdin asks it to stop and to go, so no worker outlives its run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use dataset::{DatasetSpec, LabelBudget};
use identity::{Ancestry, Field, Fingerprint, Numerics, Role};
use stage::{Description, StageSpec};
use train::Progress;

/// What a run asks a worker for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// To make a stage.
    Make(Box<Order>),
    /// To stop what it is making, as soon as it can go on from there later.
    Stop,
}

/// All that it takes to make one stage, wherever the store is: no experiment, no plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Ids of the stages that are this work, for people.
    pub stages: Vec<String>,
    /// What to do.
    pub spec: StageSpec,
    /// What it must make: the hash of `fields`.
    pub fingerprint: Fingerprint,
    /// All that the result depends on.
    pub fields: Vec<Field>,
    /// What it takes from the store, in the order of [`Stage::inputs`](stage::Stage::inputs).
    pub inputs: Vec<(Role, Fingerprint)>,
    /// What it reads, in the order of [`Stage::datasets`](stage::Stage::datasets).
    pub datasets: Vec<OrderedDataset>,
    /// Files outside the store, in the order of [`Stage::files`](stage::Stage::files).
    pub files: Vec<OrderedFile>,
    /// The fields of it and of all that it is made from.
    pub ancestry: Ancestry,
    /// What it makes.
    pub description: Description,
    /// The device class and number type that it must be made with.
    pub numerics: Numerics,
    /// Threads to compute with; the result does not depend on it.
    pub threads: usize,
    /// Whether to make it even if the store has it.
    pub anew: bool,
}

/// A data set that a stage reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderedDataset {
    /// What for.
    pub role: Role,
    /// Where it is and how it is read.
    pub spec: DatasetSpec,
    /// How many of its training images count.
    pub labels: LabelBudget,
    /// As written in the experiment file, for people.
    pub name: String,
    /// blake3 of the content that it must have: [`Summary::digest`](dataset::Summary::digest).
    pub digest: String,
    /// Of its options, content and label budget.
    pub fingerprint: Fingerprint,
}

/// A file that a stage reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderedFile {
    /// Where it is.
    pub path: PathBuf,
    /// blake3 of the content that it must have.
    pub digest: String,
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The first message about an order: it was received whole.
    Begun,
    /// Another run is making the stage.
    Waiting,
    /// How far it is.
    Progress(Progress),
    /// A warning, for a person.
    Said(String),
    /// The last message about an order.
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
    /// The run asked it to stop.
    Interrupted,
    /// Its process got a signal to end. If the run got one too, that stops it all; otherwise this stage is lost alone.
    Terminated,
    /// No stage can go on: the store or the device failed.
    Stopped(String),
}
