//! A ready-queue over jobs `0..n`: which job may start next, and which never will. No I/O.

use std::collections::BTreeSet;

/// Jobs, numbered in the order in which they start among those that are ready.
///
/// A job becomes ready when each of its inputs is finished; when one of them fails, the job is skipped,
/// and so is everything that depends on it.
#[derive(Debug)]
pub struct Queue {
    ready: BTreeSet<usize>,
    jobs: Vec<Job>,
}

#[derive(Debug)]
struct Job {
    users: Vec<usize>,
    unfinished_inputs: usize,
    skipped: bool,
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
    /// `inputs[j]` are the jobs that job `j` takes from; a job may name one twice.
    pub fn new(inputs: &[Vec<usize>]) -> Self {
        let job =
            |inputs: &Vec<usize>| Job { users: Vec::new(), unfinished_inputs: inputs.len(), skipped: false };
        let mut jobs: Vec<Job> = inputs.iter().map(job).collect();
        for (user, inputs) in inputs.iter().enumerate() {
            for &input in inputs {
                jobs[input].users.push(user);
            }
        }
        let ready = (0..jobs.len()).filter(|&job| jobs[job].unfinished_inputs == 0).collect();
        Self { ready, jobs }
    }

    /// Takes the first ready job; `None` if there is none (now).
    pub fn take(&mut self) -> Option<usize> {
        self.ready.pop_first()
    }

    /// A job that was taken is done: those that waited for nothing else become ready.
    pub fn finish(&mut self, job: usize) {
        for user in std::mem::take(&mut self.jobs[job].users) {
            let user_job = &mut self.jobs[user];
            user_job.unfinished_inputs -= 1;
            if user_job.unfinished_inputs == 0 {
                self.ready.insert(user);
            }
        }
    }

    /// A job that was taken failed: returns everything that is skipped for it, in order.
    pub fn fail(&mut self, job: usize) -> Vec<Skipped> {
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
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ready_jobs_start_in_the_order_of_their_numbers() {
        let mut queue = Queue::new(&[vec![], vec![2], vec![], vec![0, 2]]);
        assert_eq!((queue.take(), queue.take(), queue.take()), (Some(0), Some(2), None));
        queue.finish(2);
        assert_eq!((queue.take(), queue.take()), (Some(1), None));
        queue.finish(0);
        assert_eq!(queue.take(), Some(3));
    }

    #[test]
    fn an_input_named_twice_is_waited_for_once() {
        let mut queue = Queue::new(&[vec![], vec![0, 0]]);
        queue.take();
        queue.finish(0);
        assert_eq!(queue.take(), Some(1));
    }

    #[test]
    fn a_failure_skips_its_dependants_to_the_last_and_names_the_cause() {
        let mut queue = Queue::new(&[vec![], vec![0], vec![], vec![1, 2]]);
        queue.take();
        let skipped = queue.fail(0);
        assert_eq!(skipped, [1, 3].map(|job| Skipped { job, because_of: 0 }));
        assert_eq!(queue.take(), Some(2));
        queue.finish(2);
        assert_eq!(queue.take(), None);
    }

    /// Up to 20 jobs, each with inputs among those before it, and which of them fail.
    fn graphs() -> impl Strategy<Value = (Vec<Vec<usize>>, Vec<bool>)> {
        (1usize..20).prop_flat_map(|n| {
            let inputs: Vec<_> = (0..n)
                .map(|job| match job {
                    0 => Just(Vec::new()).boxed(),
                    _ => prop::collection::vec(0..job, 0..4).boxed(),
                })
                .collect();
            (inputs, prop::collection::vec(prop::bool::weighted(0.2), n))
        })
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum End {
        Never,
        Finished,
        Failed,
        Skipped(usize),
    }

    fn run(inputs: &[Vec<usize>], fails: &[bool]) -> Vec<End> {
        let mut queue = Queue::new(inputs);
        let mut ends = vec![End::Never; inputs.len()];
        while let Some(job) = queue.take() {
            assert_eq!(ends[job], End::Never, "job {job} ran twice or after it was skipped");
            assert!(inputs[job].iter().all(|&input| ends[input] == End::Finished));
            if fails[job] {
                ends[job] = End::Failed;
                for Skipped { job, because_of } in queue.fail(job) {
                    assert_eq!(ends[job], End::Never, "job {job} was skipped twice or after it ran");
                    ends[job] = End::Skipped(because_of);
                }
            } else {
                ends[job] = End::Finished;
                queue.finish(job);
            }
        }
        ends
    }

    fn depends_on(inputs: &[Vec<usize>], job: usize, on: usize) -> bool {
        inputs[job].iter().any(|&input| input == on || depends_on(inputs, input, on))
    }

    proptest! {
        #[test]
        fn every_job_runs_once_after_its_inputs_or_is_skipped_for_a_failed_one((inputs, fails) in graphs()) {
            let ends = run(&inputs, &fails);
            for (job, end) in ends.iter().enumerate() {
                let dead = inputs[job].iter().any(|&input| matches!(ends[input], End::Failed | End::Skipped(_)));
                match *end {
                    End::Never => prop_assert!(false, "job {} was forgotten", job),
                    End::Finished | End::Failed => prop_assert!(!dead),
                    End::Skipped(cause) => {
                        prop_assert!(dead && ends[cause] == End::Failed);
                        prop_assert!(depends_on(&inputs, job, cause));
                    }
                }
            }
        }
    }
}
