//! How stages stand on a cluster, read from the desk: with or without a run that follows them, on any node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::desk::{Desk, Note, Tails, allocation};
use crate::RunError;
use crate::message::Message;
use identity::Fingerprint;
use train::Progress;

/// How the stages of an experiment stand on a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Overview {
    /// Stages that wait for an allocation or for their inputs.
    pub waiting: usize,
    /// Stages that are being made.
    pub running: BTreeMap<String, Place>,
}

/// Where a stage is being made.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Place {
    /// The job of Slurm.
    pub job: String,
    /// Its computer.
    pub host: String,
    /// The job's output.
    pub log: PathBuf,
    /// The latest progress of the stage.
    pub progress: Option<Progress>,
}

/// The overview of an experiment in the store of this folder; `None` if none of its stages is on a cluster.
///
/// # Errors
/// The desk cannot be read.
pub fn overview(store: &Path, experiment: &str) -> Result<Option<Overview>, RunError> {
    let Some(desk) = Desk::existing(&Desk::path(store, experiment))? else { return Ok(None) };
    let (mut hosts, mut progress) = (BTreeMap::new(), BTreeMap::new());
    for (worker, note) in Tails::default().notes(&desk)? {
        match note {
            Note::Arrived { host, .. } => _ = hosts.insert(worker, host),
            Note::Said { of, message: Message::Progress(latest) } => _ = progress.insert(of, latest),
            Note::Said { of, .. } => _ = progress.remove(&of),
            Note::Alive | Note::Left(_) => {}
        }
    }
    let place = |of: &Fingerprint, worker: &str| Place {
        job: allocation(worker).to_owned(),
        host: hosts.get(worker).cloned().unwrap_or_default(),
        log: desk.log(allocation(worker)),
        progress: progress.get(of).cloned(),
    };
    let mut overview = Overview { waiting: desk.open_orders()?.len(), ..Overview::default() };
    for (of, worker) in desk.taken_orders()? {
        // It may just have been put back.
        let Some(order) = desk.taken_order(&of, &worker)? else { continue };
        let stage = order.stages.first().cloned().unwrap_or_else(|| of.to_string());
        overview.running.insert(stage, place(&of, &worker));
    }
    Ok(Some(overview))
}
