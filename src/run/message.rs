//! The protocol between a run and its workers: one JSON value per line.
//!
//! A worker reads [`Request`]s from stdin and carries out one order at a time; the run sends the next order after the
//! previous one has ended. The worker writes [`Message`]s to stdout: for each order, first [`Message::Started`], last
//! [`Message::Ended`]. When stdin is closed, the worker stops and exits, so it does not outlive its run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use dataset::{DatasetSpec, LabelBudget};
use identity::{Ancestry, Field, Fingerprint, Numerics, Role};
use stage::{Description, StageSpec};
use train::Progress;

/// A request from a run to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Make a stage.
    Make(Box<Order>),
    /// Stop the current stage at the next point from which it can be resumed.
    Stop,
}

/// Everything that is needed to make one stage, besides the store; it depends on no experiment or plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Ids of all stages with this fingerprint, for display.
    pub stages: Vec<String>,
    /// The stage's specification.
    pub spec: StageSpec,
    /// Fingerprint of the result: the hash of `fields`.
    pub fingerprint: Fingerprint,
    /// Everything that the result depends on.
    pub fields: Vec<Field>,
    /// Inputs from the store, in the order of [`Stage::inputs`](stage::Stage::inputs).
    pub inputs: Vec<(Role, Fingerprint)>,
    /// Data sets, in the order of [`Stage::datasets`](stage::Stage::datasets).
    pub datasets: Vec<OrderDataset>,
    /// Files outside the store, in the order of [`Stage::files`](stage::Stage::files).
    pub files: Vec<OrderFile>,
    /// The fields of this stage and of all its ancestors.
    pub ancestry: Ancestry,
    /// Description of the result.
    pub description: Description,
    /// Device class and number type to compute with.
    pub numerics: Numerics,
    /// Number of threads; it does not affect the result.
    pub threads: usize,
    /// Whether to make it even if the store has it.
    pub rerun: bool,
}

/// A data set of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderDataset {
    /// Its role in the stage.
    pub role: Role,
    /// How to read it.
    pub spec: DatasetSpec,
    /// Which of its training images are used.
    pub labels: LabelBudget,
    /// Name in the experiment file, for display.
    pub name: String,
    /// blake3 of its expected content: [`Summary::digest`](dataset::Summary::digest).
    pub digest: String,
    /// Fingerprint of its options, content and label budget.
    pub fingerprint: Fingerprint,
}

/// A file of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderFile {
    /// Its path.
    pub path: PathBuf,
    /// blake3 of its expected content.
    pub digest: String,
}

/// A message from a worker to its run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The worker has accepted an order.
    Started,
    /// Another run is making the stage; the worker waits for it.
    Waiting,
    /// Progress of the stage.
    Progress(Progress),
    /// A warning for the user.
    Warning(String),
    /// The order went back to where it was taken from, for this reason; another worker will take it.
    Returned(String),
    /// The order has ended; its last message.
    Ended(Ending),
}

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The stage was made.
    Executed {
        /// Elapsed time in seconds.
        seconds: f64,
    },
    /// Its entry was already in the store.
    Found,
    /// The stage failed; only stages that depend on it are affected.
    Failed(String),
    /// There was not enough memory.
    OutOfMemory(String),
    /// The run asked it to stop.
    Interrupted,
    /// Its process received a signal. If the run received one as well, the run stops; otherwise only this stage failed.
    Terminated,
    /// No stage can run: the store or the device failed.
    Fatal(String),
}
