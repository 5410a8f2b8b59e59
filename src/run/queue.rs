//! Decides which job starts next, on which device, and which jobs are skipped. No I/O, no clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Requirements of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Jobs that it depends on; may contain duplicates.
    pub inputs: Vec<usize>,
    /// Length of the critical path from its start to the end of everything that depends on it, in any unit. The job with
    /// the longest one starts first.
    pub urgency: u64,
    /// Device memory in bytes.
    pub memory: u64,
}

/// Limits on running jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of parallel jobs on all devices; at least one.
    pub jobs: usize,
    /// Memory of each device in bytes; at least one device.
    pub devices: Vec<u64>,
}

/// Jobs and their states.
///
/// A job is ready when all its inputs have finished. When an input fails, the job is skipped, along with everything that
/// depends on it. Jobs share a device only if their memory fits; a job that runs out of memory on a shared device is
/// retried once, alone.
#[derive(Debug)]
pub struct Queue {
    limits: Limits,
    jobs: Vec<Job>,
    ready: BTreeSet<(Reverse<u64>, usize)>,
    /// Ready jobs that need a device to themselves.
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

/// The device of a running job.
#[derive(Clone, Copy, Debug)]
struct Place {
    device: usize,
    /// Whether it has shared the device with another job.
    shared: bool,
    /// Whether it needs the device to itself.
    alone: bool,
}

/// A job to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Job number.
    pub job: usize,
    /// Device number.
    pub device: usize,
    /// Number of jobs that will run in parallel, including this one, once every job that can start has started.
    pub at_once: usize,
}

/// A skipped job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Job number.
    pub job: usize,
    /// The failed job.
    pub because_of: usize,
}

impl Queue {
    /// A queue of jobs `0..needs.len()`. Dependencies must not be cyclic.
    pub fn new(needs: &[Need], limits: Limits) -> Self {
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
        let mut queue = Self { limits, jobs, ready, alone, running };
        (0..needs.len()).filter(|&job| needs[job].inputs.is_empty()).for_each(|job| queue.make_ready(job));
        queue
    }

    /// Start the most urgent job; of equals, the one with the lowest number. `None` if no job is ready or the most urgent
    /// one does not fit now: smaller jobs do not overtake it.
    pub fn start(&mut self) -> Option<Start> {
        if self.running.len() >= self.limits.jobs {
            return None;
        }
        if let Some(&job) = self.alone.first() {
            let device =
                (0..self.limits.devices.len()).find(|&device| self.jobs_on(device).next().is_none())?;
            self.alone.remove(&job);
            return Some(self.begin(job, device, true));
        }
        let &(_, job) = self.ready.first()?;
        let device = self.device_for(self.jobs[job].memory)?;
        self.ready.pop_first();
        Some(self.begin(job, device, false))
    }

    /// Number of running jobs.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// A running job has finished; jobs whose inputs have all finished become ready.
    pub fn finish(&mut self, job: usize) {
        self.running.remove(&job);
        for user in std::mem::take(&mut self.jobs[job].users) {
            self.jobs[user].unfinished_inputs -= 1;
            if self.jobs[user].unfinished_inputs == 0 {
                self.make_ready(user);
            }
        }
    }

    /// A running job has failed; returns the jobs that are skipped as a result, in order.
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

    /// A running job ran out of memory. If it shared its device, it is scheduled to run again alone; returns `true`.
    /// Otherwise nothing changes, and the caller reports the failure.
    pub fn retry_alone(&mut self, job: usize) -> bool {
        let shared = self.running.get(&job).is_some_and(|place| place.shared);
        if shared {
            self.running.remove(&job);
            self.jobs[job].started = false;
            self.alone.insert(job);
        }
        shared
    }

    /// A running job was stopped; jobs that depend on it do not start.
    pub fn stop(&mut self, job: usize) {
        self.running.remove(&job);
    }

    /// Skip and return all jobs that have not started, in order.
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
        Start { job, device, at_once: could_run.min(self.limits.jobs) }
    }

    /// Running jobs on a device.
    fn jobs_on(&self, device: usize) -> impl Iterator<Item = (usize, Place)> {
        let here = move |(_, place): &(&usize, &Place)| place.device == device;
        self.running.iter().filter(here).map(|(&job, &place)| (job, place))
    }

    /// The device with the fewest jobs that has room for a job with this memory. An idle device accepts any job: the
    /// estimate may be too high.
    fn device_for(&self, memory: u64) -> Option<usize> {
        let max_jobs = self.limits.jobs.div_ceil(self.limits.devices.len());
        let accepts = |&device: &usize| {
            let used: u64 = self.jobs_on(device).map(|(job, _)| self.jobs[job].memory).sum();
            let busy = self.jobs_on(device).count();
            let fits = used.saturating_add(memory) <= self.limits.devices[device];
            busy == 0 || (busy < max_jobs && fits && self.jobs_on(device).all(|(_, place)| !place.alone))
        };
        (0..self.limits.devices.len()).filter(accepts).min_by_key(|&device| self.jobs_on(device).count())
    }
}

#[cfg(test)]
mod tests;
