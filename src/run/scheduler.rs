//! The loop of a run: starts jobs while there is room, hears what they say and tells the reporter.

use std::fmt;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::message::{Ending, Message};
use super::queue::{Need, Queue, Room, Skipped, Start};
use super::{Event, Executor, Reporter, RunError};

/// Time between two looks at whether the person asked to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// A stage to make, as the scheduler sees it.
#[derive(Clone, Debug)]
pub struct Job {
    /// The stage's id.
    pub id: String,
    /// The stage's kind.
    pub kind: &'static str,
    /// What it needs.
    pub need: Need,
}

/// How jobs are run.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Where.
    pub room: Room,
    /// Threads that all running jobs share.
    pub threads: usize,
    /// Whether nothing starts any more after a stage failed.
    pub fail_fast: bool,
}

/// How a run ended. Stages are named by their ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Stages made.
    pub executed: usize,
    /// Stages whose results were in the store.
    pub fresh: usize,
    /// Stages that failed, with the message.
    pub failed: Vec<(String, String)>,
    /// Stages that did not run, with the failed stage that they depend on.
    pub skipped: Vec<(String, String)>,
    /// Time that it took.
    pub seconds: f64,
    /// Whether the person stopped it.
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
    /// As if both had been one run.
    fn add_assign(&mut self, other: Self) {
        self.executed += other.executed;
        self.fresh += other.fresh;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
        self.seconds += other.seconds;
        self.interrupted |= other.interrupted;
    }
}

/// Does all jobs whose inputs do not fail; `outcome` says what was known before.
///
/// # Errors
/// Why no stage could go on; those that ran have stopped by then.
pub fn run_jobs(
    jobs: &[Job],
    rules: &Rules,
    interrupt: &AtomicBool,
    executor: &mut dyn Executor,
    reporter: &mut dyn Reporter,
    outcome: &mut Outcome,
) -> Result<(), RunError> {
    let needs: Vec<_> = jobs.iter().map(|job| job.need.clone()).collect();
    let queue = Queue::new(&needs, rules.room.clone());
    let start = Instant::now();
    let mut scheduler =
        Scheduler { jobs, rules, queue, started: 0, stopped: None, interrupt, executor, reporter, outcome };
    scheduler.run();
    let stopped = scheduler.stopped;
    outcome.seconds += start.elapsed().as_secs_f64();
    match stopped {
        Some(Stop::Broken(error)) => Err(error),
        Some(Stop::Interrupted) | None => Ok(()),
    }
}

/// Why nothing starts any more.
#[derive(Debug)]
enum Stop {
    /// The person asked for it.
    Interrupted,
    /// No stage can go on.
    Broken(RunError),
}

struct Scheduler<'a> {
    jobs: &'a [Job],
    rules: &'a Rules,
    queue: Queue,
    /// Jobs that started so far, each counted once.
    started: usize,
    stopped: Option<Stop>,
    interrupt: &'a AtomicBool,
    executor: &'a mut dyn Executor,
    reporter: &'a mut dyn Reporter,
    outcome: &'a mut Outcome,
}

impl Scheduler<'_> {
    fn run(&mut self) {
        loop {
            self.look_for_interrupt();
            self.start_jobs();
            if self.queue.running() == 0 {
                break;
            }
            if let Some((job, message)) = self.executor.hear(PATIENCE) {
                self.hear(job, message);
            }
        }
    }

    fn look_for_interrupt(&mut self) {
        if self.stopped.is_none() && self.interrupt.load(Ordering::Relaxed) {
            self.stop(Stop::Interrupted);
        }
    }

    fn stops(&self) -> bool {
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
            self.started += 1;
            let threads = (self.rules.threads / at_once).max(1);
            let Job { id, kind, .. } = &self.jobs[job];
            let (stage, kind, number) = (id.clone(), (*kind).to_owned(), self.started);
            self.emit(Event::StageStarted { stage, kind, number, of: self.jobs.len(), threads });
            if let Err(error) = self.executor.start(job, device, threads) {
                self.queue.stop(job);
                self.stop(Stop::Broken(error));
            }
        }
    }

    fn hear(&mut self, job: usize, message: Message) {
        let stage = self.jobs[job].id.clone();
        match message {
            Message::Begun => {}
            Message::Waiting => self.emit(Event::StageWaiting { stage }),
            Message::Progress(progress) => self.emit(Event::StageProgress { stage, progress }),
            Message::Said(message) => self.emit(Event::StageSaid { stage, message }),
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
                self.started -= 1;
                self.emit(Event::StageRetried { stage, message });
            }
            Ending::Failed(message) | Ending::OutOfMemory(message) => self.fail(job, stage, message),
            // The run was asked to stop, too: that concerns all.
            Ending::Terminated if !self.stops() => {
                self.fail(job, stage, "was stopped by SIGTERM; run again to go on".into());
            }
            Ending::Interrupted | Ending::Terminated => {
                self.emit(Event::StageStopped { stage });
                self.queue.stop(job);
                self.stop(Stop::Interrupted);
            }
            Ending::Stopped(message) => {
                self.emit(Event::StageStopped { stage: stage.clone() });
                self.queue.stop(job);
                self.stop(Stop::Broken(RunError::Worker { stage, message }));
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
        let [stage, because_of] = [job, because_of].map(|job| self.jobs[job].id.clone());
        self.outcome.skipped.push((stage.clone(), because_of.clone()));
        self.emit(Event::StageSkipped { stage, because_of });
    }

    fn emit(&mut self, event: Event) {
        self.reporter.event(&event);
    }
}

#[cfg(test)]
mod tests;
