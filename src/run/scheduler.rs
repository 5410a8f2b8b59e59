//! The main loop of a run: starts jobs within the limits, handles their messages, and reports events.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::executor::Started;
use super::message::{Ending, Message};
use super::queue::{Limits, Need, Queue, Skipped, Start};
use super::{Event, Executor, Reporter, RunError};

/// Interval for checking whether the user interrupted the run.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A stage to make.
#[derive(Clone, Debug)]
pub struct Job {
    /// The stage's id.
    pub id: String,
    /// The stage's kind.
    pub kind: &'static str,
    /// Its estimated time in seconds, alone on all threads.
    pub seconds: f64,
    /// Its requirements.
    pub need: Need,
}

/// How to run jobs.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Limits on parallel jobs.
    pub limits: Limits,
    /// Number of threads.
    pub threads: usize,
    /// Whether all running jobs share the threads; otherwise each has this number.
    pub shares_threads: bool,
    /// Whether to stop starting stages after the first failure.
    pub fail_fast: bool,
}

/// How a run ended. Stages are identified by their ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Stages made.
    pub executed: usize,
    /// Stages whose results were already in the store.
    pub fresh: usize,
    /// Failed stages with their error messages.
    pub failed: Vec<(String, String)>,
    /// Skipped stages with the failed stage that each depends on.
    pub skipped: Vec<(String, String)>,
    /// Stages that were left to an executor.
    pub detached: usize,
    /// Elapsed time in seconds.
    pub seconds: f64,
    /// Whether the user interrupted it.
    pub interrupted: bool,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { executed, fresh, failed, skipped, seconds, .. } = self;
        let (failed, skipped) = (failed.len(), skipped.len());
        write!(f, "executed {executed}, fresh {fresh}, failed {failed}, skipped {skipped} in {seconds:.1} s")
    }
}

impl AddAssign for Outcome {
    /// Combine two outcomes as if they were one run.
    fn add_assign(&mut self, other: Self) {
        self.executed += other.executed;
        self.fresh += other.fresh;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
        self.detached += other.detached;
        self.seconds += other.seconds;
        self.interrupted |= other.interrupted;
    }
}

/// Run all jobs, except those whose inputs fail, and add the results to `outcome`.
///
/// # Errors
/// No stage can run; running stages have been stopped.
pub fn run_jobs(
    jobs: &[Job],
    rules: &Rules,
    interrupt: &AtomicBool,
    executor: &mut dyn Executor,
    reporter: &mut dyn Reporter,
    outcome: &mut Outcome,
) -> Result<(), RunError> {
    let needs: Vec<_> = jobs.iter().map(|job| job.need.clone()).collect();
    let queue = Queue::new(&needs, rules.limits.clone());
    let start = Instant::now();
    let (begun, stopped) = Default::default();
    let mut scheduler =
        Scheduler { jobs, rules, queue, begun, stopped, interrupt, executor, reporter, outcome };
    scheduler.run();
    let stopped = scheduler.stopped;
    outcome.seconds += start.elapsed().as_secs_f64();
    match stopped {
        Some(Stop::Error(error)) => Err(error),
        Some(Stop::Interrupted) | None => Ok(()),
    }
}

/// Why the run is stopping.
#[derive(Debug)]
enum Stop {
    /// The user interrupted it.
    Interrupted,
    /// An error that affects every stage.
    Error(RunError),
}

struct Scheduler<'a> {
    jobs: &'a [Job],
    rules: &'a Rules,
    queue: Queue,
    /// Jobs that have begun so far; those to be retried do not count.
    begun: BTreeSet<usize>,
    stopped: Option<Stop>,
    interrupt: &'a AtomicBool,
    executor: &'a mut dyn Executor,
    reporter: &'a mut dyn Reporter,
    outcome: &'a mut Outcome,
}

impl Scheduler<'_> {
    fn run(&mut self) {
        loop {
            self.check_interrupt();
            self.start_jobs();
            if self.queue.running() == 0 {
                break;
            }
            match self.executor.receive(POLL_INTERVAL) {
                Ok(Some((job, message))) => self.handle(job, message),
                Ok(None) => {}
                Err(error) => self.stop(Stop::Error(error)),
            }
            while let Some(message) = self.executor.news() {
                self.emit(Event::ExecutorSaid { message });
            }
            self.reporter.tick();
        }
    }

    fn check_interrupt(&mut self) {
        if self.stopped.is_none() && self.interrupt.load(Ordering::Relaxed) {
            self.stop(Stop::Interrupted);
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopped.is_some() || self.interrupt.load(Ordering::Relaxed)
    }

    fn stop(&mut self, why: Stop) {
        if self.stopped.is_none() {
            self.outcome.interrupted = matches!(why, Stop::Interrupted);
            self.stopped = Some(why);
            self.executor.stop();
        }
    }

    fn start_jobs(&mut self) {
        while self.stopped.is_none()
            && let Some(Start { job, device, at_once }) = self.queue.start()
        {
            match self.executor.start(job, device, self.threads(at_once)) {
                Ok(Started::Now) => self.begin(job, self.threads(at_once)),
                Ok(Started::Queued) => {}
                Err(error) => {
                    self.queue.stop(job);
                    self.stop(Stop::Error(error));
                }
            }
        }
    }

    /// Threads of a job if this number of jobs run in parallel.
    fn threads(&self, at_once: usize) -> usize {
        let Rules { threads, shares_threads, .. } = *self.rules;
        if shares_threads { (threads / at_once).max(1) } else { threads }
    }

    fn begin(&mut self, job: usize, threads: usize) {
        self.begun.insert(job);
        let (number, of) = (self.begun.len(), self.jobs.len());
        let Job { id, kind, seconds: estimate, .. } = self.jobs[job].clone();
        self.emit(Event::StageStarted { stage: id, kind: kind.into(), number, of, threads, estimate });
    }

    fn handle(&mut self, job: usize, message: Message) {
        let stage = self.jobs[job].id.clone();
        match message {
            Message::Started => self.begin(job, self.threads(1)),
            Message::Returned(message) => {
                self.begun.remove(&job);
                self.emit(Event::StageReturned { stage, message });
            }
            Message::Waiting => self.emit(Event::StageWaiting { stage }),
            Message::Progress(progress) => self.emit(Event::StageProgress { stage, progress }),
            Message::Warning(message) => self.emit(Event::StageWarning { stage, message }),
            Message::Ended(ending) => self.end(job, stage, ending),
        }
    }

    fn end(&mut self, job: usize, stage: String, ending: Ending) {
        match ending {
            Ending::Executed { seconds } => {
                self.outcome.executed += 1;
                self.emit(Event::StageFinished { stage, seconds });
                self.queue.finish(job);
            }
            Ending::Found => {
                self.outcome.fresh += 1;
                self.emit(Event::StageFound { stage });
                self.queue.finish(job);
            }
            Ending::OutOfMemory(message) if self.stopped.is_none() && self.queue.retry_alone(job) => {
                self.begun.remove(&job);
                self.emit(Event::StageRetried { stage, message });
            }
            Ending::Failed(message) | Ending::OutOfMemory(message) => self.fail(job, stage, message),
            // Only this worker received the signal, not the run.
            Ending::Terminated if !self.is_stopping() => {
                self.fail(job, stage, "its process was stopped by a signal; to resume it, run again".into());
            }
            Ending::Interrupted | Ending::Terminated => {
                if self.begun.contains(&job) {
                    self.emit(Event::StageStopped { stage });
                }
                self.queue.stop(job);
                self.stop(Stop::Interrupted);
            }
            Ending::Fatal(message) => {
                self.emit(Event::StageStopped { stage: stage.clone() });
                self.queue.stop(job);
                self.stop(Stop::Error(RunError::Worker { stage, message }));
            }
        }
    }

    fn fail(&mut self, job: usize, stage: String, message: String) {
        self.outcome.failed.push((stage.clone(), message.clone()));
        self.emit(Event::StageFailed { stage, message });
        let mut skipped = self.queue.fail(job);
        if self.rules.fail_fast {
            skipped.extend(self.queue.give_up(job));
        }
        skipped.into_iter().for_each(|skipped| self.skip(skipped));
    }

    fn skip(&mut self, Skipped { job, because_of }: Skipped) {
        self.executor.skip(job);
        let [stage, because_of] = [job, because_of].map(|job| self.jobs[job].id.clone());
        self.outcome.skipped.push((stage.clone(), because_of.clone()));
        self.emit(Event::StageSkipped { stage, because_of, estimate: self.jobs[job].seconds });
    }

    fn emit(&mut self, event: Event) {
        self.reporter.event(&event);
    }
}

#[cfg(test)]
mod tests;
