//! Tests of the queue with integers.

use proptest::prelude::*;

use super::*;

fn needs(inputs: &[&[usize]]) -> Vec<Need> {
    inputs.iter().map(|inputs| Need { inputs: inputs.to_vec(), ..Need::default() }).collect()
}

/// One device with unlimited memory.
fn jobs_at_once(jobs: usize) -> Limits {
    Limits { jobs, devices: vec![u64::MAX] }
}

fn started(queue: &mut Queue) -> Vec<usize> {
    std::iter::from_fn(|| queue.start()).map(|start| start.job).collect()
}

#[test]
fn ready_jobs_start_in_the_order_of_their_numbers() {
    let mut queue = Queue::new(&needs(&[&[], &[2], &[], &[0, 2]]), jobs_at_once(9));
    assert_eq!(started(&mut queue), [0, 2]);
    queue.finish(2);
    assert_eq!(started(&mut queue), [1]);
    queue.finish(0);
    assert_eq!(started(&mut queue), [3]);
}

#[test]
fn the_job_with_the_longest_critical_path_starts_first() {
    let mut jobs = needs(&[&[], &[], &[]]);
    jobs[1].urgency = 5;
    jobs[2].urgency = 7;
    assert_eq!(started(&mut Queue::new(&jobs, jobs_at_once(9))), [2, 1, 0]);
}

#[test]
fn the_limit_on_parallel_jobs_holds_and_each_job_knows_their_number() {
    let mut queue = Queue::new(&needs(&[&[], &[], &[]]), jobs_at_once(2));
    let first = queue.start().unwrap();
    assert_eq!((first.job, first.at_once), (0, 2));
    assert_eq!(queue.start().unwrap().at_once, 2);
    assert_eq!(queue.start(), None);
    queue.finish(0);
    queue.finish(1);
    let last = queue.start().unwrap();
    assert_eq!((last.job, last.at_once), (2, 1), "no other job will run");
}

#[test]
fn jobs_spread_over_devices_and_share_one_only_if_their_memory_fits() {
    let mut jobs = needs(&[&[], &[], &[], &[]]);
    for (job, memory) in jobs.iter_mut().zip([6, 6, 4, 9]) {
        job.memory = memory;
    }
    let mut queue = Queue::new(&jobs, Limits { jobs: 4, devices: vec![10, 10] });
    let devices: Vec<_> = std::iter::from_fn(|| queue.start()).map(|start| start.device).collect();
    assert_eq!(devices, [0, 1, 0], "the fourth fits nowhere");
    queue.finish(1);
    assert_eq!(queue.start().map(|start| (start.job, start.device)), Some((3, 1)));
}

#[test]
fn a_job_too_large_for_every_device_is_tried_alone() {
    let mut jobs = needs(&[&[], &[]]);
    jobs[0].memory = 11;
    let mut queue = Queue::new(&jobs, Limits { jobs: 2, devices: vec![10] });
    assert_eq!(started(&mut queue), [0], "the second waits, although it needs nothing");
    queue.finish(0);
    assert_eq!(started(&mut queue), [1]);
}

#[test]
fn a_job_that_ran_out_of_memory_on_a_shared_device_is_retried_alone() {
    let mut queue = Queue::new(&needs(&[&[], &[], &[]]), jobs_at_once(2));
    assert_eq!(started(&mut queue), [0, 1]);
    assert!(queue.retry_alone(1));
    assert_eq!(queue.start(), None, "not in parallel with the first");
    queue.finish(0);
    let again = queue.start().unwrap();
    assert_eq!((again.job, again.at_once), (1, 1));
    assert_eq!(queue.start(), None, "no other job may start");
    assert!(!queue.retry_alone(1), "it was alone: no third attempt");
    assert_eq!(queue.fail(1), []);
    assert_eq!(started(&mut queue), [2]);
}

#[test]
fn a_duplicate_input_counts_once() {
    let mut queue = Queue::new(&needs(&[&[], &[0, 0]]), jobs_at_once(1));
    queue.start();
    queue.finish(0);
    assert_eq!(started(&mut queue), [1]);
}

#[test]
fn a_failure_skips_all_dependents_and_names_the_cause() {
    let mut queue = Queue::new(&needs(&[&[], &[0], &[], &[1, 2]]), jobs_at_once(1));
    queue.start();
    let skipped = queue.fail(0);
    assert_eq!(skipped, [1, 3].map(|job| Skipped { job, because_of: 0 }));
    assert_eq!(started(&mut queue), [2]);
    queue.finish(2);
    assert_eq!(queue.start(), None);
}

#[test]
fn giving_up_skips_all_jobs_that_have_not_started() {
    let mut queue = Queue::new(&needs(&[&[], &[], &[1], &[0]]), jobs_at_once(1));
    queue.start();
    assert_eq!(queue.fail(0), [Skipped { job: 3, because_of: 0 }]);
    assert_eq!(queue.give_up(0), [1, 2].map(|job| Skipped { job, because_of: 0 }));
    assert_eq!((queue.start(), queue.running()), (None, 0));
}

/// How a job ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Finished,
    Failed,
    OutOfMemory,
}

/// Up to 20 jobs with earlier jobs as inputs, how each ends, and the limits.
fn runs() -> impl Strategy<Value = (Vec<Need>, Vec<End>, Limits)> {
    let needs = (1usize..20).prop_flat_map(|n| {
        (0..n)
            .map(|job| {
                let inputs = match job {
                    0 => Just(Vec::new()).boxed(),
                    _ => prop::collection::vec(0..job, 0..4).boxed(),
                };
                (inputs, 0u64..5, 0u64..12).prop_map(|(inputs, urgency, memory)| Need {
                    inputs,
                    urgency,
                    memory,
                })
            })
            .collect::<Vec<_>>()
    });
    let end = prop_oneof![6 => Just(End::Finished), 1 => Just(End::Failed), 1 => Just(End::OutOfMemory)];
    let limits = (1usize..5, prop::collection::vec(0u64..20, 1..4))
        .prop_map(|(jobs, devices)| Limits { jobs, devices });
    (needs, prop::collection::vec(end, 20), limits)
}

#[derive(Debug, Default)]
struct Record {
    finished: BTreeSet<usize>,
    failed: BTreeSet<usize>,
    skipped: BTreeMap<usize, usize>,
    retried: BTreeSet<usize>,
}

/// Run all jobs; `pick` chooses which of the running jobs ends next.
fn run(needs: &[Need], ends: &[End], limits: &Limits, mut pick: impl FnMut(usize) -> usize) -> Record {
    let mut queue = Queue::new(needs, limits.clone());
    let mut running: Vec<Start> = Vec::new();
    let mut record = Record::default();
    loop {
        running.extend(std::iter::from_fn(|| queue.start()));
        check_limits(needs, limits, &running);
        assert_eq!(queue.running(), running.len());
        if running.is_empty() {
            return record;
        }
        let Start { job, .. } = running.remove(pick(running.len()));
        assert!(needs[job].inputs.iter().all(|input| record.finished.contains(input)));
        let end = ends[job];
        if end == End::OutOfMemory && queue.retry_alone(job) {
            assert!(record.retried.insert(job), "job {job} was tried three times");
        } else if end == End::Finished {
            assert!(record.finished.insert(job), "job {job} ran twice");
            queue.finish(job);
        } else {
            assert!(record.failed.insert(job), "job {job} failed twice");
            for Skipped { job, because_of } in queue.fail(job) {
                assert_eq!(record.skipped.insert(job, because_of), None, "job {job} was skipped twice");
            }
        }
    }
}

fn check_limits(needs: &[Need], limits: &Limits, running: &[Start]) {
    assert!(running.len() <= limits.jobs);
    for (device, memory) in limits.devices.iter().enumerate() {
        let here: Vec<_> = running.iter().filter(|start| start.device == device).collect();
        let used: u64 = here.iter().map(|start| needs[start.job].memory).sum();
        assert!(here.len() <= 1 || used <= *memory, "device {device} is over its limit");
    }
}

fn depends_on(needs: &[Need], job: usize, on: usize) -> bool {
    needs[job].inputs.iter().any(|&input| input == on || depends_on(needs, input, on))
}

proptest! {
    #[test]
    fn every_job_ends_once_after_its_inputs_or_is_skipped_because_one_failed(
        (needs, ends, limits) in runs(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 60),
    ) {
        let mut picks = picks.into_iter().cycle();
        let record = run(&needs, &ends, &limits, |n| picks.next().map_or(0, |pick| pick.index(n)));
        for (job, need) in needs.iter().enumerate() {
            let dead = need.inputs.iter().any(|input| !record.finished.contains(input));
            let ended = record.finished.contains(&job) || record.failed.contains(&job);
            prop_assert_eq!(dead, record.skipped.contains_key(&job));
            prop_assert_eq!(!dead, ended, "job {} was forgotten, or ran without its inputs", job);
            if let Some(cause) = record.skipped.get(&job) {
                prop_assert!(record.failed.contains(cause) && depends_on(&needs, job, *cause));
            }
        }
    }
}
