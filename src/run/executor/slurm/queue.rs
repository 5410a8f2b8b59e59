//! The run's allocations: what was submitted, what the workers say, what Slurm says.

mod cancel;
mod submit;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::super::Workers;
use super::client::{Client, Listed, Trouble};
use super::desk::{Desk, Left, Note, WorkerId, allocation};
use super::state::Phase;
use crate::RunError;
use submit::Submission;

/// Time between two queries if nothing changes, in the usual time between two.
const QUERY_LATE: u32 = 5;

/// The usual time between two queries, in the time after the queue has changed or a worker was stopped.
const QUERY_SOON: u32 = 2;

/// How long the controller may need until it lists what was submitted.
const LISTED: Duration = Duration::from_secs(30);

/// How long a worker may say nothing, of which it says something every few seconds, before Slurm is asked about it.
const SILENCE: Duration = Duration::from_secs(60);

/// Time between two attempts to submit: at first, and at last.
const SUBMIT: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(300)];

/// How many allocations may end in a row without having made or continued anything.
const FRUITLESS: usize = 4;

/// What is known of an allocation.
#[derive(Clone, Debug)]
pub(super) struct Allocation {
    /// Its worker, since it has arrived.
    pub(super) worker: Option<WorkerId>,
    /// Mebibytes.
    pub(super) memory: u64,
    /// What Slurm last said.
    listed: Option<Listed>,
    /// When it was submitted or found.
    since: Instant,
    /// When its worker last said something.
    heard: Instant,
    /// Whether it has made or continued anything.
    pub(super) fruitful: bool,
}

/// An allocation that has ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) id: String,
    /// Whether memory ran out.
    pub(super) out_of_memory: bool,
    /// Mebibytes that it had.
    pub(super) memory: u64,
}

/// The allocations of a run.
#[derive(Debug)]
pub(super) struct Allocations {
    client: Client,
    desk: Desk,
    /// The store, absolute.
    store: PathBuf,
    /// How to start workers.
    workers: Workers,
    /// The name of the run's jobs.
    pub(super) name: String,
    /// Workers of allocations, also of an earlier run's, and whether they have left.
    past: BTreeMap<String, (WorkerId, Option<Left>)>,
    /// Those that have not ended.
    pub(super) living: BTreeMap<String, Allocation>,
    /// Whether it must be asked what was submitted before.
    in_doubt: bool,
    /// Interval of queries: usually, and now.
    usual_interval: Duration,
    query_interval: Duration,
    query_at: Instant,
    submit_at: Instant,
    submit_interval: Duration,
    /// Whether the user knows that the controller does not answer, or takes no more jobs.
    silent: bool,
    busy: bool,
    max_array_size: Option<usize>,
    /// Allocations that ended in a row without having made anything.
    fruitless: usize,
    /// The last of them.
    last_fruitless: Option<String>,
    submissions: usize,
    /// For the user.
    pub(super) news: Vec<String>,
}

impl Allocations {
    /// The allocations of a run; those of an earlier one are found by the run's name.
    pub(super) fn new(
        desk: &Desk,
        store: &Path,
        workers: &Workers,
        name: String,
        interval: Duration,
    ) -> Result<Self, RunError> {
        let client = Client::new(desk.root().join("calls.log"));
        let in_doubt = !desk.submissions()?.is_empty();
        let now = Instant::now();
        Ok(Self {
            client,
            desk: desk.clone(),
            store: std::path::absolute(store).unwrap_or_else(|_| store.to_owned()),
            workers: workers.clone(),
            name,
            past: BTreeMap::new(),
            living: BTreeMap::new(),
            in_doubt,
            usual_interval: interval,
            query_interval: interval,
            query_at: now,
            submit_at: now,
            submit_interval: SUBMIT[0],
            silent: false,
            busy: false,
            max_array_size: None,
            fruitless: 0,
            last_fruitless: None,
            submissions: 0,
            news: Vec::new(),
        })
    }

    /// What a worker said, also before this run.
    pub(super) fn recall(&mut self, worker: &str, note: &Note) {
        let left = match note {
            Note::Arrived { .. } => None,
            Note::Left(left) => Some(*left),
            _ => return,
        };
        self.past.insert(allocation(worker).to_owned(), (worker.to_owned(), left));
    }

    /// Whether it is not known which allocations there are.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// The last allocation, if nothing that was submitted lately has made anything.
    pub(super) fn fruitless(&self) -> Option<&str> {
        self.last_fruitless.as_deref().filter(|_| self.fruitless >= FRUITLESS)
    }

    /// A worker of an allocation has arrived.
    pub(super) fn arrived(&mut self, allocation: &str, worker: &str) {
        if let Some(known) = self.living.get_mut(allocation) {
            known.worker = Some(worker.to_owned());
        }
    }

    /// A worker of an allocation has said something.
    pub(super) fn heard(&mut self, allocation: &str) {
        if let Some(known) = self.living.get_mut(allocation) {
            known.heard = Instant::now();
        }
    }

    /// Ask Slurm soon about workers that have not said anything for too long.
    pub(super) fn look_for_silence(&mut self) {
        let is_silent = |known: &&mut Allocation| known.worker.is_some() && known.heard.elapsed() > SILENCE;
        let mut any = false;
        for known in self.living.values_mut().filter(is_silent) {
            known.heard = Instant::now();
            any = true;
        }
        if any {
            self.query_soon();
        }
    }

    /// An allocation has made or continued a stage.
    pub(super) fn bore_fruit(&mut self, allocation: &str) {
        if let Some(known) = self.living.get_mut(allocation) {
            known.fruitful = true;
        }
        self.had_result();
    }

    /// Allocations of late led to something: a stage was made, continued or given up.
    pub(super) fn had_result(&mut self) {
        self.fruitless = 0;
    }

    /// A worker says that it has left; a stopped one may go back to the queue.
    pub(super) fn left(&mut self, allocation: &str, left: Left) -> Option<Ended> {
        match left {
            Left::Stopped => {
                self.query_soon();
                None
            }
            Left::Finished | Left::Idle | Left::Unable => self.end(allocation, false, left != Left::Unable),
        }
    }

    fn end(&mut self, id: &str, out_of_memory: bool, is_fine: bool) -> Option<Ended> {
        let known = self.living.remove(id)?;
        if !known.fruitful && !is_fine {
            self.fruitless += 1;
            self.last_fruitless = Some(id.to_owned());
        }
        Some(Ended { id: id.to_owned(), out_of_memory, memory: known.memory })
    }

    fn query_soon(&mut self) {
        self.query_interval = self.usual_interval;
        self.query_at = self.query_at.min(Instant::now() + self.usual_interval / QUERY_SOON);
    }

    /// Ask Slurm, if it is time to; returns allocations that have ended.
    pub(super) fn query(&mut self) -> Result<Vec<Ended>, RunError> {
        let now = Instant::now();
        if now < self.query_at || (self.living.is_empty() && !self.in_doubt) {
            return Ok(Vec::new());
        }
        match self.client.jobs(&self.name) {
            Ok(listed) => {
                self.answered();
                self.adopt(&listed)?;
                let (ended, changed) = self.compare(&listed);
                self.query_interval = if changed { self.usual_interval } else { self.longer_interval() };
                // What was just submitted is listed soon.
                let soonest = if self.in_doubt { LISTED } else { Duration::MAX };
                self.query_at = now + self.query_interval.min(soonest);
                Ok(ended)
            }
            Err(trouble) => {
                self.did_not_answer(&trouble);
                self.query_interval = self.longer_interval();
                self.query_at = now + self.query_interval;
                Ok(Vec::new())
            }
        }
    }

    fn longer_interval(&self) -> Duration {
        (self.query_interval * 3 / 2).min(self.usual_interval * QUERY_LATE)
    }

    fn answered(&mut self) {
        if std::mem::take(&mut self.silent) {
            self.news.push("Slurm answers again".into());
        }
    }

    fn did_not_answer(&mut self, trouble: &Trouble) {
        if !std::mem::replace(&mut self.silent, true) {
            self.news.push(format!(
                "Slurm does not answer ({}): how its jobs are is unknown; allocations go on without it, and it is asked \
                 again",
                trouble.text()
            ));
        }
    }

    /// Take over living allocations that an earlier run, or an attempt without an answer, has submitted.
    /// Doubts remain while one may be on its way to the controller.
    fn adopt(&mut self, listed: &[Listed]) -> Result<(), RunError> {
        if !std::mem::take(&mut self.in_doubt) {
            return Ok(());
        }
        let mut found = 0;
        for token in self.desk.submissions()? {
            let path = self.desk.submission(&token, "json");
            let Some(submission) = self.desk.read::<Submission>(&path)? else { continue };
            let own: Vec<_> = listed.iter().filter(|job| job.comment == token).collect();
            self.in_doubt |= own.is_empty() && !submission.is_answered() && is_young(&path);
            let living = own.into_iter().filter(|job| job.state.phase() != Phase::Ended);
            found += living.filter(|job| self.adopt_one(&job.id, submission.memory)).count();
        }
        self.tell_found(found);
        Ok(())
    }

    /// Take over a living allocation with this memory, unless it is known or its worker has left.
    fn adopt_one(&mut self, id: &str, memory: u64) -> bool {
        let (worker, left) = self.past.get(id).cloned().unzip();
        let has_left = left.flatten().is_some_and(|left| left != Left::Stopped);
        if has_left || self.living.contains_key(id) {
            return false;
        }
        self.living.insert(id.to_owned(), Allocation { worker, ..Allocation::new(memory) });
        true
    }

    /// Tell the user how many were found, and if doubts remain.
    fn tell_found(&mut self, found: usize) {
        if found > 0 {
            let words = if found == 1 {
                "allocation of an earlier run found; it goes"
            } else {
                "allocations of an earlier run found; they go"
            };
            self.news.push(format!("{found} {words} on"));
        }
        if self.in_doubt {
            let text = "whether Slurm got the last submission is not known yet; it is asked again";
            self.news.push(text.into());
        }
    }

    /// Compare what is known with what Slurm lists: what has ended, and whether anything has changed.
    fn compare(&mut self, listed: &[Listed]) -> (Vec<Ended>, bool) {
        let by_id: BTreeMap<&str, &Listed> = listed.iter().map(|job| (job.id.as_str(), job)).collect();
        let missing =
            self.living.iter().any(|(id, known)| !by_id.contains_key(id.as_str()) && known.is_old());
        let accounted =
            if missing { self.client.accounted(&self.name).unwrap_or_default() } else { Vec::new() };
        let (mut ended, mut changed) = (Vec::new(), false);
        for id in self.living.keys().cloned().collect::<Vec<_>>() {
            let known = self.living.get_mut(&id).expect("it is a key");
            let job = by_id.get(id.as_str()).copied().or_else(|| accounted.iter().find(|job| job.id == id));
            match job {
                Some(job) => {
                    changed |= known.listed.as_ref() != Some(job);
                    let note = job.clone();
                    self.tell(&id, &note);
                    if note.state.phase() == Phase::Ended {
                        ended.extend(self.end(&id, note.state.ran_out_of_memory(), false));
                    }
                }
                None if known.is_old() => {
                    changed = true;
                    self.news.push(format!("job {id} is no longer in the queue; its stages run again"));
                    ended.extend(self.end(&id, false, false));
                }
                None => {}
            }
        }
        (ended, changed)
    }

    /// Tell the user of a change that concerns them.
    fn tell(&mut self, id: &str, job: &Listed) {
        let Some(known) = self.living.get_mut(id) else { return };
        let before = known.listed.replace(job.clone());
        let is_new = before.as_ref().is_none_or(|before| before.state != job.state);
        let state = &job.state;
        if is_new && !state.is_usual() {
            let reason = match state.reason.as_str() {
                "" | "None" => String::new(),
                reason => format!(" ({reason})"),
            };
            let log = if state.phase() == Phase::Ended {
                format!("; log: {}", self.desk.log(id).display())
            } else {
                String::new()
            };
            self.news.push(format!("job {id} is {}{reason}: {}{log}", state.name, state.advice()));
        }
    }
}

impl Allocation {
    fn new(memory: u64) -> Self {
        let now = Instant::now();
        Self { worker: None, memory, listed: None, since: now, heard: now, fruitful: false }
    }

    /// Whether the controller has had the time to list it.
    fn is_old(&self) -> bool {
        self.listed.is_some() || self.since.elapsed() > LISTED
    }
}

/// Whether a file was written so lately that the controller may not list yet what it is about.
fn is_young(path: &Path) -> bool {
    let written = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    // The clock of the file system may be ahead.
    let age = |written| match SystemTime::now().duration_since(written) {
        Ok(age) => age,
        Err(ahead) => ahead.duration(),
    };
    written.is_ok_and(|written| age(written) < LISTED)
}

#[cfg(test)]
mod tests;
