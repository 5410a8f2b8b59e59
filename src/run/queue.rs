//! Which job starts next, where and beside how many others, and which never will. No I/O, no clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// What a job needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// The jobs that it takes from; one may be named twice.
    pub inputs: Vec<usize>,
    /// How long it takes from its start to the end of all that depends on it, in any unit: whatever holds up
    /// the most starts first.
    pub urgency: u64,
    /// Bytes of its device's memory.
    pub memory: u64,
}

/// Where jobs run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Jobs at once, over all devices; at least one.
    pub jobs: usize,
    /// Bytes of memory of each device; at least one.
    pub devices: Vec<u64>,
}

/// Jobs, and how far they are.
///
/// A job becomes ready when each of its inputs is finished; when one of them fails, the job is skipped,
/// and so is everything that depends on it. Jobs share a device only if it has memory for all of them; one that
/// ran out of memory all the same is tried once more, alone.
#[derive(Debug)]
pub struct Queue {
    room: Room,
    jobs: Vec<Job>,
    ready: BTreeSet<(Reverse<u64>, usize)>,
    /// Ready jobs that must have a device for themselves.
    alone: BTreeSet<usize>,
    running: BTreeMap<usize, Place>,
}

#[derive(Debug)]
struct Job {
    users: Vec<usize>,
    unfinished_inputs: usize,
    urgency: u64,
    memory: u64,
    started: bool,
    skipped: bool,
}

/// Where a running job runs.
#[derive(Clone, Copy, Debug)]
struct Place {
    device: usize,
    /// Whether another job was on the device meanwhile.
    shared: bool,
    /// Whether no other job may be.
    alone: bool,
}

/// A job that starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its number.
    pub job: usize,
    /// The device that it runs on.
    pub device: usize,
    /// Jobs that will run at once when all have started that can: it and the others.
    pub at_once: usize,
}

/// A job that will not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its number.
    pub job: usize,
    /// The failed job that it depends on.
    pub because_of: usize,
}

impl Queue {
    /// Jobs `0..needs.len()`; inputs have lower numbers than their users, or none ever starts.
    pub fn new(needs: &[Need], room: Room) -> Self {
        let job = |need: &Need| Job {
            users: Vec::new(),
            unfinished_inputs: need.inputs.len(),
            urgency: need.urgency,
            memory: need.memory,
            started: false,
            skipped: false,
        };
        let mut jobs: Vec<Job> = needs.iter().map(job).collect();
        for (user, need) in needs.iter().enumerate() {
            for &input in &need.inputs {
                jobs[input].users.push(user);
            }
        }
        let (ready, alone, running) = Default::default();
        let mut queue = Self { room, jobs, ready, alone, running };
        (0..needs.len()).filter(|&job| needs[job].inputs.is_empty()).for_each(|job| queue.make_ready(job));
        queue
    }

    /// Starts the most urgent job, the first of equals. `None` if none is ready, or there is no room now: a
    /// large job is not overtaken for ever by small ones that would fit.
    pub fn start(&mut self) -> Option<Start> {
        if self.running.len() >= self.room.jobs {
            return None;
        }
        if let Some(&job) = self.alone.first() {
            let device = (0..self.room.devices.len()).find(|&device| self.on(device).next().is_none())?;
            self.alone.remove(&job);
            return Some(self.begin(job, device, true));
        }
        let &(_, job) = self.ready.first()?;
        let device = self.device_for(self.jobs[job].memory)?;
        self.ready.pop_first();
        Some(self.begin(job, device, false))
    }

    /// Jobs that run now.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// A running job is done: those that waited for nothing else become ready.
    pub fn finish(&mut self, job: usize) {
        self.running.remove(&job);
        for user in std::mem::take(&mut self.jobs[job].users) {
            self.jobs[user].unfinished_inputs -= 1;
            if self.jobs[user].unfinished_inputs == 0 {
                self.make_ready(user);
            }
        }
    }

    /// A running job failed: returns everything that is skipped for it, in order.
    pub fn fail(&mut self, job: usize) -> Vec<Skipped> {
        self.running.remove(&job);
        let mut skipped = BTreeSet::new();
        let mut failed = vec![job];
        while let Some(input) = failed.pop() {
            for user in std::mem::take(&mut self.jobs[input].users) {
                if !std::mem::replace(&mut self.jobs[user].skipped, true) {
                    skipped.insert(user);
                    failed.push(user);
                }
            }
        }
        skipped.into_iter().map(|user| Skipped { job: user, because_of: job }).collect()
    }

    /// A running job ran out of memory. If others were on its device it will run once more, alone: `true`.
    /// Otherwise it keeps running as far as this knows, and has to be told to have failed.
    pub fn retry_alone(&mut self, job: usize) -> bool {
        let shared = self.running.get(&job).is_some_and(|place| place.shared);
        if shared {
            self.running.remove(&job);
            self.jobs[job].started = false;
            self.alone.insert(job);
        }
        shared
    }

    /// A running job was stopped; what waits for it never starts.
    pub fn stop(&mut self, job: usize) {
        self.running.remove(&job);
    }

    /// Nothing starts any more: everything that was neither started nor skipped, in order.
    pub fn give_up(&mut self, because_of: usize) -> Vec<Skipped> {
        self.ready.clear();
        self.alone.clear();
        let waiting = self.jobs.iter_mut().enumerate().filter(|(_, job)| !job.started && !job.skipped);
        let skip = |(number, job): (usize, &mut Job)| {
            job.skipped = true;
            Skipped { job: number, because_of }
        };
        waiting.map(skip).collect()
    }

    fn make_ready(&mut self, job: usize) {
        if !self.jobs[job].skipped {
            self.ready.insert((Reverse(self.jobs[job].urgency), job));
        }
    }

    fn begin(&mut self, job: usize, device: usize, alone: bool) -> Start {
        let mut shared = false;
        for place in self.running.values_mut().filter(|place| place.device == device) {
            place.shared = true;
            shared = true;
        }
        self.jobs[job].started = true;
        self.running.insert(job, Place { device, shared, alone });
        let could_run = self.running.len() + if alone { 0 } else { self.ready.len() };
        Start { job, device, at_once: could_run.min(self.room.jobs) }
    }

    /// Jobs on a device.
    fn on(&self, device: usize) -> impl Iterator<Item = (usize, Place)> {
        let here = move |(_, place): &(&usize, &Place)| place.device == device;
        self.running.iter().filter(here).map(|(&job, &place)| (job, place))
    }

    /// The least busy device that takes a job of so much memory. An idle one takes any: nobody knows better
    /// than to try.
    fn device_for(&self, memory: u64) -> Option<usize> {
        let most = self.room.jobs.div_ceil(self.room.devices.len());
        let takes = |&device: &usize| {
            let used: u64 = self.on(device).map(|(job, _)| self.jobs[job].memory).sum();
            let busy = self.on(device).count();
            let fits = used.saturating_add(memory) <= self.room.devices[device];
            busy == 0 || (busy < most && fits && self.on(device).all(|(_, place)| !place.alone))
        };
        (0..self.room.devices.len()).filter(takes).min_by_key(|&device| self.on(device).count())
    }
}

#[cfg(test)]
mod tests;
