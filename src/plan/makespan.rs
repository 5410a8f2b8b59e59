//! The makespan of jobs: a simulation of the scheduler, without I/O.
//!
//! At most `at_once` jobs run in parallel. Of the ready jobs, the one with the longest remaining path starts first. It
//! keeps its share of the threads until it ends: all of them if no other job runs or could start. If the shares exceed
//! the number of threads, all running jobs slow down equally.

use std::collections::BTreeSet;

use rayon::prelude::*;

/// Doubling the threads divides a job's time by 2 to this power.
const SCALING: f64 = 0.85;
/// Relative differences in time below this are rounding errors.
const ROUNDING: f64 = 1e-9;

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Time in seconds alone on all threads.
    pub seconds: f64,
    /// Indices of the jobs it depends on, all smaller than its own.
    pub inputs: Vec<usize>,
}

/// The speedup on `threads` threads over one thread.
pub fn speed_up(threads: usize) -> f64 {
    (threads.max(1) as f64).powf(SCALING)
}

/// Length of the critical path in seconds: a lower bound of the total time.
pub fn critical_path(jobs: &[Job]) -> f64 {
    ways(jobs).into_iter().fold(0.0, f64::max)
}

/// Seconds until all jobs have finished, at most `at_once` at a time, on `threads` threads.
pub fn makespan(jobs: &[Job], at_once: usize, threads: usize) -> f64 {
    let mut simulation = Simulation::new(jobs, at_once.max(1), threads.max(1));
    while simulation.start() {
        simulation.advance();
    }
    simulation.now
}

/// The number of parallel jobs, at most one per thread, with the smallest makespan; the smallest on ties.
pub fn best_jobs(jobs: &[Job], threads: usize) -> usize {
    let numbers = 1..=threads.min(jobs.len()).max(1);
    let times: Vec<f64> = numbers.into_par_iter().map(|at_once| makespan(jobs, at_once, threads)).collect();
    let mut best = (1, times[0]);
    for (at_once, seconds) in (1..).zip(times) {
        if seconds < best.1 * (1.0 - ROUNDING) {
            best = (at_once, seconds);
        }
    }
    best.0
}

/// Length in seconds of the longest path from the start of each job to the end of its dependents.
pub fn ways(jobs: &[Job]) -> Vec<f64> {
    let mut ways = vec![0.0; jobs.len()];
    for (i, job) in jobs.iter().enumerate().rev() {
        ways[i] += job.seconds;
        for &input in &job.inputs {
            ways[input] = f64::max(ways[input], ways[i]);
        }
    }
    ways
}

/// State of the simulation.
struct Simulation<'a> {
    jobs: &'a [Job],
    at_once: usize,
    threads: usize,
    /// Jobs by the length of their remaining path, the longest first; ties in job order.
    by_way: Vec<usize>,
    /// Index of each job in `by_way`.
    ranks: Vec<usize>,
    users: Vec<Vec<usize>>,
    /// Number of unfinished inputs of each job.
    missing: Vec<usize>,
    /// Ranks of the ready jobs.
    ready: BTreeSet<usize>,
    running: Vec<Running>,
    now: f64,
}

struct Running {
    job: usize,
    threads: usize,
    /// Speedup of its threads over one thread.
    speed: f64,
    /// Remaining seconds alone on all threads.
    left: f64,
}

impl<'a> Simulation<'a> {
    fn new(jobs: &'a [Job], at_once: usize, threads: usize) -> Self {
        let ways = ways(jobs);
        let mut by_way: Vec<usize> = (0..jobs.len()).collect();
        by_way.sort_by(|&a, &b| ways[b].total_cmp(&ways[a]));
        let mut ranks = vec![0; jobs.len()];
        by_way.iter().enumerate().for_each(|(rank, &job)| ranks[job] = rank);
        let mut users = vec![Vec::new(); jobs.len()];
        for (i, job) in jobs.iter().enumerate() {
            job.inputs.iter().for_each(|&input| users[input].push(i));
        }
        let missing: Vec<usize> = jobs.iter().map(|job| job.inputs.len()).collect();
        let ready = (0..jobs.len()).filter(|&job| missing[job] == 0).map(|job| ranks[job]).collect();
        Self { jobs, at_once, threads, by_way, ranks, users, missing, ready, running: Vec::new(), now: 0.0 }
    }

    /// Start ready jobs; returns whether any job is running.
    fn start(&mut self) -> bool {
        while self.running.len() < self.at_once {
            let Some(rank) = self.ready.pop_first() else { break };
            let others = self.running.len() + self.ready.len();
            let threads = (self.threads / self.at_once.min(others + 1)).max(1);
            let job = self.by_way[rank];
            let left = self.jobs[job].seconds;
            self.running.push(Running { job, threads, speed: speed_up(threads), left });
        }
        !self.running.is_empty()
    }

    /// Advance to the time when the next job, or several at once, finish.
    fn advance(&mut self) {
        let wanted: usize = self.running.iter().map(|running| running.threads).sum();
        let granted = (self.threads as f64 / wanted as f64).min(1.0) / speed_up(self.threads);
        let rate = |running: &Running| granted * running.speed;
        let times = self.running.iter().map(|running| running.left / rate(running));
        let step = times.fold(f64::INFINITY, f64::min);
        let (done, mut running): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|running| running.left / rate(running) <= step);
        running.iter_mut().for_each(|running| running.left -= step * rate(running));
        self.running = running;
        self.now += step;
        done.iter().for_each(|done| self.finish(done.job));
    }

    fn finish(&mut self, job: usize) {
        for &user in &self.users[job] {
            self.missing[user] -= 1;
            if self.missing[user] == 0 {
                self.ready.insert(self.ranks[user]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
