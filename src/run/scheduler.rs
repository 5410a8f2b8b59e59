//! The loop of a run: takes ready jobs one at a time, hands them to an executor and tells the reporter.

use std::fmt;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::queue::Queue;
use super::{Event, Reporter, RunError};
use crate::stage::{Interrupted, Progress};

/// A stage to make, as the scheduler sees it.
#[derive(Clone, Debug)]
pub struct Job {
    /// The stage's id.
    pub id: String,
    /// The stage's kind.
    pub kind: &'static str,
    /// The jobs that it takes from; inputs that are fresh are no jobs.
    pub inputs: Vec<usize>,
}

/// Where a job's progress goes; an error from it stops the stage.
pub type Report<'a> = dyn Fn(Progress) -> Result<(), Interrupted> + Sync + 'a;

/// Where and how jobs are done: in this process, or (some day) in a worker of its own.
pub trait Executor {
    /// Makes the job's entry in the store, or finds it there.
    ///
    /// # Errors
    /// Why there is no entry.
    fn execute(&mut self, job: usize, report: &Report<'_>) -> Result<Made, Failure>;

    /// The job has ended, or will never start: what was kept for it alone can go.
    fn release(&mut self, job: usize);
}

/// How a job's entry came to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Made {
    /// It was made now, in so many seconds.
    Executed {
        /// Time that it took.
        seconds: f64,
    },
    /// It was in the store when the job's turn came.
    Found,
}

/// Why a job did not make its entry.
#[derive(Debug)]
pub enum Failure {
    /// The stage failed: what depends on it is skipped, the rest goes on.
    Stage(String),
    /// The person asked to stop.
    Interrupted,
    /// No stage can go on.
    Run(RunError),
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
/// What [`Failure::Run`] says.
pub fn run_jobs(
    jobs: &[Job],
    fail_fast: bool,
    interrupt: &AtomicBool,
    executor: &mut dyn Executor,
    reporter: &mut dyn Reporter,
    outcome: &mut Outcome,
) -> Result<(), RunError> {
    let inputs: Vec<_> = jobs.iter().map(|job| job.inputs.clone()).collect();
    let queue = Queue::new(&inputs);
    let reporter = Mutex::new(reporter);
    Scheduler { jobs, queue, ended: 0, interrupt, executor, reporter, outcome }.run(fail_fast)
}

struct Scheduler<'a, 'r> {
    jobs: &'a [Job],
    queue: Queue,
    ended: usize,
    interrupt: &'a AtomicBool,
    executor: &'a mut dyn Executor,
    reporter: Mutex<&'r mut dyn Reporter>,
    outcome: &'a mut Outcome,
}

impl Scheduler<'_, '_> {
    fn run(&mut self, fail_fast: bool) -> Result<(), RunError> {
        let start = Instant::now();
        while let Some(job) = self.queue.take() {
            if self.interrupt.load(Ordering::Relaxed) {
                self.outcome.interrupted = true;
                break;
            }
            match self.execute(job) {
                Ok(made) => self.finish(job, made),
                Err(Failure::Stage(message)) => self.fail(job, message, fail_fast),
                Err(Failure::Interrupted) => {
                    self.outcome.interrupted = true;
                    break;
                }
                Err(Failure::Run(error)) => return Err(error),
            }
        }
        self.outcome.seconds += start.elapsed().as_secs_f64();
        Ok(())
    }

    fn execute(&mut self, job: usize) -> Result<Made, Failure> {
        let Job { id, kind, .. } = &self.jobs[job];
        let number = self.ended + 1;
        let (stage, kind, of) = (id.clone(), (*kind).to_owned(), self.jobs.len());
        self.emit(Event::StageStarted { stage, kind, number, of });
        let Self { executor, reporter, interrupt, .. } = self;
        executor.execute(job, &|progress| {
            emit(reporter, &Event::StageProgress { stage: id.clone(), progress });
            if interrupt.load(Ordering::Relaxed) { Err(Interrupted) } else { Ok(()) }
        })
    }

    fn finish(&mut self, job: usize, made: Made) {
        let stage = self.jobs[job].id.clone();
        match made {
            Made::Executed { seconds } => {
                self.outcome.executed += 1;
                self.emit(Event::StageFinished { stage, seconds });
            }
            Made::Found => {
                self.outcome.fresh += 1;
                self.emit(Event::StageFound { stage });
            }
        }
        self.end(job);
        self.queue.finish(job);
    }

    fn fail(&mut self, job: usize, message: String, fail_fast: bool) {
        let stage = self.jobs[job].id.clone();
        self.outcome.failed.push((stage.clone(), message.clone()));
        self.emit(Event::StageFailed { stage, message });
        self.end(job);
        self.skip_users(job, job);
        if fail_fast {
            self.skip_rest(job);
        }
    }

    fn skip_rest(&mut self, because_of: usize) {
        while let Some(job) = self.queue.take() {
            self.skip(job, because_of);
            self.skip_users(job, because_of);
        }
    }

    fn skip_users(&mut self, of: usize, because_of: usize) {
        for skipped in self.queue.fail(of) {
            self.skip(skipped.job, because_of);
        }
    }

    fn skip(&mut self, job: usize, because_of: usize) {
        let [stage, because_of] = [job, because_of].map(|job| self.jobs[job].id.clone());
        self.outcome.skipped.push((stage.clone(), because_of.clone()));
        self.emit(Event::StageSkipped { stage, because_of });
        self.end(job);
    }

    fn end(&mut self, job: usize) {
        self.ended += 1;
        self.executor.release(job);
    }

    fn emit(&self, event: Event) {
        emit(&self.reporter, &event);
    }
}

fn emit(reporter: &Mutex<&mut dyn Reporter>, event: &Event) {
    reporter.lock().unwrap_or_else(PoisonError::into_inner).event(event);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Does nothing; jobs named in `fails` fail, `interrupts` raises the flag while it reports.
    #[derive(Default)]
    struct Fake {
        fails: Vec<usize>,
        finds: Vec<usize>,
        interrupts: Option<usize>,
        interrupt: AtomicBool,
        executed: Vec<usize>,
        released: Vec<usize>,
    }

    struct FakeExecutor<'a>(&'a mut Fake, &'a AtomicBool);

    impl Executor for FakeExecutor<'_> {
        fn execute(&mut self, job: usize, report: &Report<'_>) -> Result<Made, Failure> {
            let Self(fake, interrupt) = self;
            fake.executed.push(job);
            interrupt.fetch_or(fake.interrupts == Some(job), Ordering::Relaxed);
            report(Progress::Count { done: 0, of: 1, what: "models".into() })
                .map_err(|Interrupted| Failure::Interrupted)?;
            if fake.fails.contains(&job) {
                return Err(Failure::Stage("it broke".into()));
            }
            Ok(if fake.finds.contains(&job) { Made::Found } else { Made::Executed { seconds: 1.0 } })
        }

        fn release(&mut self, job: usize) {
            self.0.released.push(job);
        }
    }

    #[derive(Default)]
    struct Names(BTreeMap<&'static str, Vec<String>>);

    impl Reporter for Names {
        fn event(&mut self, event: &Event) {
            let (name, stage) = match event {
                Event::StageStarted { stage, number, of, .. } => {
                    ("started", format!("{stage} {number}/{of}"))
                }
                Event::StageFinished { stage, .. } => ("finished", stage.clone()),
                Event::StageFound { stage } => ("found", stage.clone()),
                Event::StageFailed { stage, message } => ("failed", format!("{stage}: {message}")),
                Event::StageSkipped { stage, because_of } => ("skipped", format!("{stage} for {because_of}")),
                _ => return,
            };
            self.0.entry(name).or_default().push(stage);
        }
    }

    /// a ← b ← d, c ← e.
    fn jobs() -> Vec<Job> {
        let job = |id: &str, inputs: &[usize]| Job { id: id.into(), kind: "merge", inputs: inputs.to_vec() };
        vec![job("a", &[]), job("b", &[0]), job("c", &[]), job("d", &[1]), job("e", &[2])]
    }

    fn run(fake: &mut Fake, fail_fast: bool) -> (Outcome, Names) {
        let (mut outcome, mut names) = (Outcome::default(), Names::default());
        let interrupt = std::mem::take(&mut fake.interrupt);
        let mut executor = FakeExecutor(fake, &interrupt);
        run_jobs(&jobs(), fail_fast, &interrupt, &mut executor, &mut names, &mut outcome).unwrap();
        (outcome, names)
    }

    #[test]
    fn jobs_run_in_order_and_are_released_once() {
        let mut fake = Fake { finds: vec![2], ..Fake::default() };
        let (outcome, names) = run(&mut fake, false);
        assert_eq!((outcome.executed, outcome.fresh), (4, 1));
        assert_eq!(fake.executed, [0, 1, 2, 3, 4]);
        assert_eq!(fake.released, [0, 1, 2, 3, 4]);
        assert_eq!(names.0["started"], ["a 1/5", "b 2/5", "c 3/5", "d 4/5", "e 5/5"]);
        assert_eq!(names.0["found"], ["c"]);
    }

    #[test]
    fn a_failure_skips_what_depends_on_it_and_the_rest_goes_on() {
        let mut fake = Fake { fails: vec![0], ..Fake::default() };
        let (outcome, names) = run(&mut fake, false);
        assert_eq!(outcome.failed, [("a".into(), "it broke".into())]);
        assert_eq!(names.0["skipped"], ["b for a", "d for a"]);
        assert_eq!(names.0["started"], ["a 1/5", "c 4/5", "e 5/5"]);
        assert_eq!(fake.released, [0, 1, 3, 2, 4]);
    }

    #[test]
    fn fail_fast_skips_everything_else() {
        let mut fake = Fake { fails: vec![0], ..Fake::default() };
        let (outcome, names) = run(&mut fake, true);
        assert_eq!(fake.executed, [0]);
        assert_eq!(names.0["skipped"], ["b for a", "d for a", "c for a", "e for a"]);
        assert_eq!(outcome.skipped.len(), 4);
    }

    #[test]
    fn an_interrupt_stops_the_running_stage_and_starts_no_other() {
        let mut fake = Fake { interrupts: Some(1), ..Fake::default() };
        let (outcome, _) = run(&mut fake, false);
        assert!(outcome.interrupted && outcome.failed.is_empty());
        assert_eq!((outcome.executed, fake.executed), (1, vec![0, 1]));
    }
}
