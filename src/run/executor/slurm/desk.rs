//! The folder where a run and its allocations exchange orders and messages: `slurm/<experiment>/` in the store.
//!
//! ```text
//! graph.json               what is to be made, the most urgent first, and what each needs
//! orders/<fingerprint>     orders to take
//! taken/<fingerprint>.<worker>   orders that an allocation's worker has taken: by a rename, so that one gets it
//! events/<worker>.jsonl    what a worker says: a line now and then, even if there is nothing to say
//! attempts/<fingerprint>   a line for each time that a stage was stopped
//! submissions/             batch scripts, and what was submitted when
//! logs/                    output of allocations
//! calls.log                a line for each call of Slurm
//! ```
//!
//! The run writes all orders at once. An allocation takes those whose inputs are made, with or without the run: it may
//! die, and is started again. All changes are renames, appends by one writer, and removals, which need no locks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::super::message::{Message, Order};
use crate::RunError;
use identity::Fingerprint;

/// How often in a row a stage may be stopped, or its worker die, before it gets any further.
const FRUITLESS: usize = 3;

/// A worker: `<array>_<index>.<restart>`, a job of an array and how often it was restarted.
pub(crate) type WorkerId = String;

/// The id of a worker's allocation: `<array>_<index>`.
pub(super) fn allocation(worker: &str) -> &str {
    worker.split('.').next().unwrap_or(worker)
}

/// What is to be made, the most urgent first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
}

/// An order and its needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) fingerprint: Fingerprint,
    /// Entries that it reads.
    pub(crate) inputs: Vec<Fingerprint>,
    /// Mebibytes that an allocation must have, if it ran out of less.
    pub(crate) memory: u64,
}

/// A line of a worker's events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Note {
    /// The worker is ready for orders.
    Arrived {
        /// Its computer.
        host: String,
        /// Mebibytes of its allocation, if they are limited.
        memory: Option<u64>,
    },
    /// It lives.
    Alive,
    /// A message about an order.
    Said {
        /// The order.
        of: Fingerprint,
        /// The message.
        message: Message,
    },
    /// It takes no more orders, and has none.
    Left(Left),
}

/// Why a worker left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    /// There are no more orders.
    Finished,
    /// No order became ready for some time.
    Idle,
    /// A signal stopped it.
    Stopped,
    /// It cannot work.
    Unable,
}

impl Left {
    /// Whether a signal stopped it, and there may be work left.
    pub fn is_stopped(self) -> bool {
        self == Self::Stopped
    }
}

/// The folder.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    root: PathBuf,
}

impl Desk {
    /// The desk of an experiment in a store; it is absolute.
    pub(crate) fn path(store: &Path, experiment: &str) -> PathBuf {
        let store = std::path::absolute(store).unwrap_or_else(|_| store.to_owned());
        store.join("slurm").join(experiment.replace(['/', ':'], "-"))
    }

    /// Open a desk, creating what is missing.
    pub(crate) fn open(root: &Path) -> Result<Self, RunError> {
        for folder in ["orders", "taken", "events", "attempts", "submissions", "logs"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(failed(&path))?;
        }
        Ok(Self { root: root.to_owned() })
    }

    /// A desk at which something was handed out and is not cleared; `None` if there is none.
    pub(super) fn existing(root: &Path) -> Result<Option<Self>, RunError> {
        let path = root.join("graph.json");
        Ok(path.try_exists().map_err(failed(&path))?.then(|| Self { root: root.to_owned() }))
    }

    /// Its folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Say what is to be made.
    pub(crate) fn publish(&self, graph: &Graph) -> Result<(), RunError> {
        self.write(&self.root.join("graph.json"), graph)
    }

    /// What is to be made; empty before the run has said so.
    pub(crate) fn graph(&self) -> Result<Graph, RunError> {
        Ok(self.read(&self.root.join("graph.json"))?.unwrap_or_default())
    }

    /// Add an order.
    pub(crate) fn put(&self, order: &Order) -> Result<(), RunError> {
        self.write(&self.order(&order.fingerprint), order)
    }

    /// Orders that nobody has taken.
    pub(crate) fn open_orders(&self) -> Result<BTreeSet<Fingerprint>, RunError> {
        Ok(names(&self.root.join("orders"))?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Orders that workers have taken.
    pub(crate) fn taken_orders(&self) -> Result<BTreeMap<Fingerprint, WorkerId>, RunError> {
        let taken = names(&self.root.join("taken"))?;
        let split = |name: &String| {
            let (fingerprint, worker) = name.split_once('.')?;
            Some((fingerprint.parse().ok()?, worker.to_owned()))
        };
        Ok(taken.iter().filter_map(split).collect())
    }

    /// Take an order; `None` if another worker was first.
    pub(crate) fn take(&self, of: &Fingerprint, worker: &str) -> Result<Option<Order>, RunError> {
        match moved(&self.order(of), &self.taken(of, worker))? {
            true => self.taken_order(of, worker),
            false => Ok(None),
        }
    }

    /// A taken order; `None` if the worker no longer has it.
    pub(super) fn taken_order(&self, of: &Fingerprint, worker: &str) -> Result<Option<Order>, RunError> {
        self.read(&self.taken(of, worker))
    }

    /// Put a taken order back; whether it was there.
    pub(crate) fn give_back(&self, of: &Fingerprint, worker: &str) -> Result<bool, RunError> {
        moved(&self.taken(of, worker), &self.order(of))
    }

    /// Remove a taken order, which has ended.
    pub(crate) fn finish(&self, of: &Fingerprint, worker: &str) -> Result<(), RunError> {
        removed(&self.taken(of, worker))
    }

    /// Remove an order that nobody has taken.
    pub(crate) fn withdraw(&self, of: &Fingerprint) -> Result<(), RunError> {
        removed(&self.order(of))
    }

    /// Note that a stage was stopped, and whether it had got further; returns why it fails, if it had not too often.
    pub(crate) fn stopped(&self, of: &Fingerprint, progressed: bool) -> Result<Option<String>, RunError> {
        let path = self.root.join("attempts").join(of.to_string());
        let mut text = fs::read_to_string(&path).unwrap_or_default();
        text.push_str(if progressed { "further\n" } else { "no further\n" });
        fs::write(&path, &text).map_err(failed(&path))?;
        let fruitless = text.lines().rev().take_while(|line| *line == "no further").count();
        Ok((fruitless >= FRUITLESS).then(|| {
            format!(
                "it was stopped {fruitless} times in a row without getting any further; set a longer `time` for \
                 allocations, or a partition whose jobs are preempted less"
            )
        }))
    }

    /// Whether a worker said that a stage got further since it last started it.
    pub(super) fn got_further(&self, of: &Fingerprint, worker: &str) -> Result<bool, RunError> {
        let notes = Tails::default().notes_of(self, worker)?.into_iter().rev();
        let messages = notes.filter_map(|note| match note {
            Note::Said { of: said, message } if said == *of => Some(message),
            _ => None,
        });
        let mut since = messages.take_while(|message| *message != Message::Started);
        Ok(since.any(|message| matches!(message, Message::Progress(progress) if progress.is_continued())))
    }

    /// The file of a worker's events.
    pub(crate) fn events(&self, worker: &str) -> PathBuf {
        self.root.join("events").join(format!("{worker}.jsonl"))
    }

    /// The log of an allocation.
    pub(crate) fn log(&self, allocation: &str) -> PathBuf {
        self.root.join("logs").join(format!("{allocation}.log"))
    }

    /// A file about a submission.
    pub(super) fn submission(&self, token: &str, extension: &str) -> PathBuf {
        self.root.join("submissions").join(format!("{token}.{extension}"))
    }

    /// Names of files about submissions.
    pub(super) fn submissions(&self) -> Result<Vec<String>, RunError> {
        let names = names(&self.root.join("submissions"))?;
        Ok(names.iter().filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect())
    }

    /// Workers with events.
    pub(super) fn workers(&self) -> Result<Vec<WorkerId>, RunError> {
        let names = names(&self.root.join("events"))?;
        Ok(names.iter().filter_map(|name| Some(name.strip_suffix(".jsonl")?.to_owned())).collect())
    }

    /// Remove what has no use after a run: all but records.
    pub(super) fn clear(&self) -> Result<(), RunError> {
        for folder in ["orders", "taken", "events", "attempts"] {
            for name in names(&self.root.join(folder))? {
                removed(&self.root.join(folder).join(name))?;
            }
        }
        removed(&self.root.join("graph.json"))
    }

    /// Write a file as JSON: whole or not at all.
    pub(super) fn write(&self, path: &Path, content: &impl Serialize) -> Result<(), RunError> {
        let json = serde_json::to_vec(content).expect("keys are strings");
        let written = || {
            let mut beside = tempfile::NamedTempFile::new_in(&self.root)?;
            beside.write_all(&json)?;
            // Closed before it appears: then NFS has written it.
            beside.into_temp_path().persist(path).map_err(io::Error::from)
        };
        written().map_err(failed(path))
    }

    /// Read a JSON file; `None` if there is none.
    pub(super) fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, RunError> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(failed(path))?,
        };
        let parsed =
            serde_json::from_slice(&bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error));
        parsed.map(Some).map_err(failed(path))
    }

    fn order(&self, of: &Fingerprint) -> PathBuf {
        self.root.join("orders").join(of.to_string())
    }

    fn taken(&self, of: &Fingerprint, worker: &str) -> PathBuf {
        self.root.join("taken").join(format!("{of}.{worker}"))
    }
}

/// The most urgent order that an allocation with this memory in mebibytes can make: nobody has taken it, nobody makes
/// its inputs, and they are in the store.
pub(crate) fn next_order<'a>(
    graph: &'a Graph,
    open: &BTreeSet<Fingerprint>,
    taken: &BTreeMap<Fingerprint, WorkerId>,
    memory: u64,
    mut is_made: impl FnMut(&Fingerprint) -> bool,
) -> Option<&'a Fingerprint> {
    let is_pending = |of: &Fingerprint| open.contains(of) || taken.contains_key(of);
    let mut is_ready = |node: &&Node| {
        open.contains(&node.fingerprint)
            && node.memory <= memory
            && !node.inputs.iter().any(is_pending)
            && node.inputs.iter().all(&mut is_made)
    };
    graph.nodes.iter().find(&mut is_ready).map(|node| &node.fingerprint)
}

/// Reads the new lines of files that others append to.
#[derive(Debug, Default)]
pub(super) struct Tails {
    /// Bytes read of each worker's events.
    read: BTreeMap<WorkerId, u64>,
}

impl Tails {
    /// New notes of all workers.
    pub(super) fn notes(&mut self, desk: &Desk) -> Result<Vec<(WorkerId, Note)>, RunError> {
        let mut notes = Vec::new();
        for worker in desk.workers()? {
            let new = self.notes_of(desk, &worker)?;
            notes.extend(new.into_iter().map(|note| (worker.clone(), note)));
        }
        Ok(notes)
    }

    /// New notes of a worker.
    fn notes_of(&mut self, desk: &Desk, worker: &str) -> Result<Vec<Note>, RunError> {
        let path = desk.events(worker);
        let from = self.read.entry(worker.to_owned()).or_default();
        let text = lines_after(&path, *from).map_err(failed(&path))?;
        *from += text.len() as u64;
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}

/// The complete lines of a file after a number of bytes; none without the file.
fn lines_after(path: &Path, from: u64) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let mut bytes = Vec::new();
    if file.metadata()?.len() > from {
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut bytes)?;
        bytes.truncate(bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1));
    }
    Ok(bytes)
}

/// Names in a folder.
fn names(folder: &Path) -> Result<Vec<String>, RunError> {
    let entries = fs::read_dir(folder).map_err(failed(folder))?;
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    entries.map(name).collect::<io::Result<_>>().map_err(failed(folder))
}

/// Rename a file; whether it was there. A repeated request of NFS may say that it was not, though it has a new name.
fn moved(from: &Path, to: &Path) -> Result<bool, RunError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => to.try_exists().map_err(failed(to)),
        moved => moved.map(|()| true).map_err(failed(to)),
    }
}

fn removed(path: &Path) -> Result<(), RunError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}

pub(crate) fn failed(path: &Path) -> impl FnOnce(io::Error) -> RunError {
    let path = path.to_owned();
    |source| RunError::Record { path, source }
}

#[cfg(test)]
mod tests;
