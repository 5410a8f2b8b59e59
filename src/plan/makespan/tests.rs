use proptest::prelude::*;

use super::*;

/// More than rounding errors.
const SLACK: f64 = 1e-6;

fn job(seconds: f64, inputs: &[usize]) -> Job {
    Job { seconds, inputs: inputs.to_vec() }
}

/// Jobs, each depending on some earlier ones.
fn any_jobs() -> impl Strategy<Value = Vec<Job>> {
    let job = (0.0..100.0, proptest::collection::vec(any::<prop::sample::Index>(), 0..3));
    proptest::collection::vec(job, 1..25).prop_map(|jobs| {
        let inputs = |i: usize, inputs: Vec<prop::sample::Index>| match i {
            0 => Vec::new(),
            _ => inputs.iter().map(|index| index.index(i)).collect(),
        };
        let jobs = jobs.into_iter().enumerate();
        jobs.map(|(i, (seconds, wanted))| Job { seconds, inputs: inputs(i, wanted) }).collect()
    })
}

fn in_all(jobs: &[Job]) -> f64 {
    jobs.iter().map(|job| job.seconds).sum()
}

fn assert_near(seconds: f64, expected: f64) {
    assert!((seconds - expected).abs() <= SLACK * expected.max(1.0), "{seconds} s, expected {expected} s");
}

#[test]
fn two_jobs_on_two_threads_gain_what_one_job_on_two_threads_loses() {
    let jobs = [job(10.0, &[]), job(10.0, &[])];
    assert_near(makespan(&jobs, 1, 2), 20.0);
    assert_near(makespan(&jobs, 2, 2), 10.0 * speed_up(2));
    assert_eq!(best_jobs(&jobs, 2), 2);
}

#[test]
fn the_job_with_the_longest_path_starts_first() {
    // A long job depends on the last of three independent jobs.
    let jobs = [job(1.0, &[]), job(1.0, &[]), job(1.0, &[]), job(10.0, &[2])];
    let one_thread = speed_up(2);
    // That job and another run first, on a thread each; then the long job and the third.
    assert_near(makespan(&jobs, 2, 2), (1.0 + 10.0) * one_thread);
}

#[test]
fn a_job_that_starts_alone_gets_all_threads_and_shares_them_later() {
    let jobs = [job(4.0, &[]), job(8.0, &[0]), job(2.0, &[0])];
    // After 4 s two jobs become ready: each gets two of four threads.
    let half = speed_up(4) / speed_up(2);
    assert_near(makespan(&jobs, 2, 4), 4.0 + 8.0 * half);
}

#[test]
fn more_jobs_than_threads_slow_each_other_down() {
    let jobs = [job(3.0, &[]), job(3.0, &[]), job(3.0, &[])];
    assert_near(makespan(&jobs, 3, 1), 9.0);
    assert_eq!(best_jobs(&jobs, 1), 1);
}

#[test]
fn no_jobs_take_no_time() {
    assert_eq!((makespan(&[], 4, 4), critical_path(&[]), best_jobs(&[], 4)), (0.0, 0.0, 1));
}

proptest! {
    #[test]
    fn no_schedule_beats_the_critical_path_or_the_threads(
        jobs in any_jobs(), at_once in 1..9usize, threads in 1..17usize,
    ) {
        let seconds = makespan(&jobs, at_once, threads) * (1.0 + SLACK) + SLACK;
        prop_assert!(seconds >= critical_path(&jobs));
        prop_assert!(seconds >= in_all(&jobs) * speed_up(threads) / threads as f64);
    }

    #[test]
    fn no_schedule_is_slower_than_one_thread(
        jobs in any_jobs(), at_once in 1..9usize, threads in 1..17usize,
    ) {
        let seconds = makespan(&jobs, at_once, threads);
        prop_assert!(seconds <= in_all(&jobs) * speed_up(threads) * (1.0 + SLACK) + SLACK);
    }

    #[test]
    fn one_at_a_time_takes_the_sum(jobs in any_jobs(), threads in 1..17usize) {
        assert_near(makespan(&jobs, 1, threads), in_all(&jobs));
    }

    #[test]
    fn a_chain_takes_the_sum_regardless_of_parallelism(
        seconds in proptest::collection::vec(0.0..100.0, 1..10), at_once in 1..9usize, threads in 1..17usize,
    ) {
        let inputs = |i: usize| i.checked_sub(1).into_iter().collect();
        let jobs = seconds.into_iter().enumerate().map(|(i, seconds)| Job { seconds, inputs: inputs(i) });
        let jobs: Vec<Job> = jobs.collect();
        assert_near(makespan(&jobs, at_once, threads), in_all(&jobs));
        prop_assert_eq!(best_jobs(&jobs, threads), 1);
    }

    #[test]
    fn twice_the_work_takes_twice_the_time(jobs in any_jobs(), at_once in 1..9usize, threads in 1..17usize) {
        let doubled: Vec<Job> =
            jobs.iter().map(|job| Job { seconds: 2.0 * job.seconds, ..job.clone() }).collect();
        assert_near(makespan(&doubled, at_once, threads), 2.0 * makespan(&jobs, at_once, threads));
    }

    #[test]
    fn allowing_more_jobs_than_there_are_changes_nothing(jobs in any_jobs(), threads in 1..17usize) {
        let all = makespan(&jobs, jobs.len(), threads);
        prop_assert_eq!(makespan(&jobs, jobs.len() + 7, threads), all);
    }

    #[test]
    fn no_number_of_jobs_beats_the_best(jobs in any_jobs(), threads in 1..9usize) {
        let best = best_jobs(&jobs, threads);
        let seconds = makespan(&jobs, best, threads);
        for at_once in 1..=threads {
            let other = makespan(&jobs, at_once, threads);
            prop_assert!(seconds <= other * (1.0 + SLACK));
            prop_assert!(at_once >= best || other > seconds, "the smallest on ties");
        }
    }
}
