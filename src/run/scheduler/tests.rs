//! Tests of the main loop with a fake executor.

use std::collections::{BTreeMap, VecDeque};

use super::super::executor::{Capacity, Parallel};
use super::*;
use train::Progress;

/// Each job reports progress once and then ends as specified, in the order of starting.
#[derive(Default)]
struct Fake {
    /// How each attempt of a job ends; the default is success.
    ends: BTreeMap<usize, VecDeque<Ending>>,
    /// The job whose progress report raises the interrupt flag.
    interrupts: Option<usize>,
    /// (job, device, threads).
    started: Vec<(usize, usize, usize)>,
    messages: VecDeque<(usize, Message)>,
    /// Whether it refuses to go on.
    refuses: bool,
    stopped: bool,
}

struct FakeExecutor<'a>(&'a mut Fake, &'a AtomicBool);

impl Executor for FakeExecutor<'_> {
    fn capacity(&self) -> Capacity {
        Capacity { memory: vec![u64::MAX], parallel: Parallel::SharedThreads }
    }

    fn start(&mut self, job: usize, device: usize, threads: usize) -> Result<Started, RunError> {
        let Self(fake, _) = self;
        fake.started.push((job, device, threads));
        let end = fake.ends.get_mut(&job).and_then(VecDeque::pop_front);
        let progress = Progress::Count { done: 0, of: 1, what: "models".into() };
        fake.messages.push_back((job, Message::Progress(progress)));
        fake.messages.push_back((job, Message::Ended(end.unwrap_or(Ending::Executed { seconds: 1.0 }))));
        Ok(Started::Now)
    }

    fn receive(&mut self, _: Duration) -> Result<Option<(usize, Message)>, RunError> {
        let Self(fake, interrupt) = self;
        if fake.refuses && !fake.stopped {
            return Err(RunError::Refused("the partition is gone".into()));
        }
        let Some((job, message)) = fake.messages.pop_front() else { return Ok(None) };
        let is_report = matches!(message, Message::Progress(_));
        interrupt.fetch_or(is_report && fake.interrupts == Some(job), Ordering::Relaxed);
        Ok(match message {
            Message::Ended(ending) if fake.stopped && ending != Ending::Terminated => {
                Some((job, Message::Ended(Ending::Interrupted)))
            }
            message => Some((job, message)),
        })
    }

    fn stop(&mut self) {
        self.0.stopped = true;
    }
}

#[derive(Default)]
struct Names(BTreeMap<&'static str, Vec<String>>);

impl Reporter for Names {
    fn event(&mut self, event: &Event) {
        let (name, text) = match event {
            Event::StageStarted { stage, number, of, .. } => ("started", format!("{stage} {number}/{of}")),
            Event::StageFinished { stage, .. } => ("finished", stage.clone()),
            Event::StageFound { stage } => ("found", stage.clone()),
            Event::StageFailed { stage, message } => ("failed", format!("{stage}: {message}")),
            Event::StageRetried { stage, .. } => ("retried", stage.clone()),
            Event::StageStopped { stage } => ("stopped", stage.clone()),
            Event::StageSkipped { stage, because_of, .. } => ("skipped", format!("{stage} for {because_of}")),
            _ => return,
        };
        self.0.entry(name).or_default().push(text);
    }
}

/// a ← b ← d, c ← e.
fn jobs() -> Vec<Job> {
    let job = |id: &str, inputs: &[usize]| Job {
        id: id.into(),
        kind: "merge",
        seconds: 1.0,
        need: Need { inputs: inputs.to_vec(), ..Need::default() },
    };
    vec![job("a", &[]), job("b", &[0]), job("c", &[]), job("d", &[1]), job("e", &[2])]
}

fn rules(jobs: usize, fail_fast: bool) -> Rules {
    Rules { limits: Limits { jobs, devices: vec![u64::MAX] }, threads: 4, shares_threads: true, fail_fast }
}

fn run(fake: &mut Fake, rules: &Rules) -> (Result<(), RunError>, Outcome, Names) {
    let (mut outcome, mut names, interrupt) = (Outcome::default(), Names::default(), AtomicBool::new(false));
    let mut executor = FakeExecutor(fake, &interrupt);
    let ended = run_jobs(&jobs(), rules, &interrupt, &mut executor, &mut names, &mut outcome);
    (ended, outcome, names)
}

fn ending(job: usize, endings: &[Ending]) -> BTreeMap<usize, VecDeque<Ending>> {
    BTreeMap::from([(job, endings.iter().cloned().collect())])
}

#[test]
fn sequential_jobs_run_in_order_with_all_threads() {
    let mut fake = Fake { ends: ending(2, &[Ending::Found]), ..Fake::default() };
    let (ended, outcome, names) = run(&mut fake, &rules(1, false));
    assert!(ended.is_ok());
    assert_eq!((outcome.executed, outcome.fresh), (4, 1));
    assert_eq!(fake.started, [0, 1, 2, 3, 4].map(|job| (job, 0, 4)));
    assert_eq!(names.0["started"], ["a 1/5", "b 2/5", "c 3/5", "d 4/5", "e 5/5"]);
    assert_eq!(names.0["found"], ["c"]);
}

#[test]
fn parallel_jobs_share_the_threads() {
    let mut fake = Fake::default();
    let (_, outcome, _) = run(&mut fake, &rules(2, false));
    assert_eq!(outcome.executed, 5);
    assert_eq!(fake.started, [(0, 0, 2), (2, 0, 2), (1, 0, 2), (4, 0, 2), (3, 0, 2)]);
    let (_, _, _) = run(&mut fake, &rules(3, false));
    assert_eq!(fake.started[5..], [(0, 0, 2), (2, 0, 2), (1, 0, 2), (4, 0, 2), (3, 0, 2)]);
}

#[test]
fn a_failure_skips_dependents_and_other_jobs_go_on() {
    let mut fake = Fake { ends: ending(0, &[Ending::Failed("it broke".into())]), ..Fake::default() };
    let (ended, outcome, names) = run(&mut fake, &rules(1, false));
    assert!(ended.is_ok());
    assert_eq!(outcome.failed, [("a".into(), "it broke".into())]);
    assert_eq!(names.0["skipped"], ["b for a", "d for a"]);
    assert_eq!(names.0["started"], ["a 1/5", "c 2/5", "e 3/5"]);
}

#[test]
fn fail_fast_skips_everything_that_has_not_started() {
    let mut fake = Fake { ends: ending(0, &[Ending::Failed("it broke".into())]), ..Fake::default() };
    let (_, outcome, names) = run(&mut fake, &rules(1, true));
    assert_eq!(fake.started.len(), 1);
    assert_eq!(names.0["skipped"], ["b for a", "d for a", "c for a", "e for a"]);
    assert_eq!(outcome.skipped.len(), 4);
}

#[test]
fn fail_fast_lets_running_jobs_finish() {
    let mut fake = Fake { ends: ending(0, &[Ending::Failed("it broke".into())]), ..Fake::default() };
    let (_, outcome, names) = run(&mut fake, &rules(2, true));
    assert_eq!((outcome.executed, outcome.skipped.len()), (1, 3));
    assert_eq!(names.0["finished"], ["c"]);
}

#[test]
fn out_of_memory_is_retried_after_sharing_and_fails_alone() {
    let memory = || Ending::OutOfMemory("no memory".into());
    let mut fake = Fake { ends: ending(2, &[memory()]), ..Fake::default() };
    let (_, outcome, names) = run(&mut fake, &rules(2, false));
    assert_eq!((outcome.executed, outcome.failed.len()), (5, 0));
    assert_eq!(names.0["retried"], ["c"]);
    let mut fake = Fake { ends: ending(2, &[memory(), memory()]), ..Fake::default() };
    let (_, outcome, names) = run(&mut fake, &rules(2, false));
    assert_eq!(outcome.failed, [("c".into(), "no memory".into())]);
    assert_eq!(names.0["skipped"], ["e for c"]);
}

#[test]
fn a_signal_to_a_worker_fails_only_its_stage() {
    let mut fake = Fake { ends: ending(0, &[Ending::Terminated]), ..Fake::default() };
    let (ended, outcome, names) = run(&mut fake, &rules(2, false));
    assert!(ended.is_ok() && !outcome.interrupted && !fake.stopped);
    assert_eq!(names.0["failed"], ["a: its process was stopped by a signal; to resume it, run again"]);
    assert_eq!(names.0["skipped"], ["b for a", "d for a"]);
    assert_eq!(outcome.executed, 2);
}

#[test]
fn a_signal_to_both_worker_and_run_stops_the_run() {
    let ends = ending(1, &[Ending::Terminated]);
    let mut fake = Fake { ends, interrupts: Some(1), ..Fake::default() };
    let (ended, outcome, names) = run(&mut fake, &rules(1, false));
    assert!(ended.is_ok() && outcome.interrupted && outcome.failed.is_empty());
    assert_eq!(names.0["stopped"], ["b"]);
}

#[test]
fn an_interrupt_stops_running_jobs_and_starts_none() {
    let mut fake = Fake { interrupts: Some(1), ..Fake::default() };
    let (ended, outcome, names) = run(&mut fake, &rules(2, false));
    assert!(ended.is_ok() && outcome.interrupted && outcome.failed.is_empty());
    assert!(fake.stopped);
    assert_eq!(outcome.executed, 2, "both had ended");
    assert_eq!(names.0["stopped"], ["b", "e"]);
}

#[test]
fn a_store_failure_stops_everything() {
    let mut fake = Fake { ends: ending(0, &[Ending::Fatal("the disk is full".into())]), ..Fake::default() };
    let (ended, outcome, names) = run(&mut fake, &rules(2, false));
    assert_eq!(ended.unwrap_err().to_string(), "a: the disk is full");
    assert!(fake.stopped);
    assert_eq!((outcome.executed, names.0["stopped"].clone()), (0, vec!["a".into(), "c".into()]));
}

#[test]
fn a_place_that_refuses_to_go_on_stops_the_run_with_its_own_error() {
    let mut fake = Fake { refuses: true, ..Fake::default() };
    let (ended, outcome, names) = run(&mut fake, &rules(2, false));
    assert!(matches!(ended, Err(RunError::Refused(why)) if why == "the partition is gone"));
    assert_eq!((outcome.executed, outcome.interrupted), (0, false));
    assert_eq!(names.0["stopped"], ["a", "c"]);
}
