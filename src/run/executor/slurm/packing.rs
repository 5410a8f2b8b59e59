//! How many allocations stages are packed into. No I/O, no clock.
//!
//! Stages are not assigned to allocations: each allocation takes the most urgent stage that is ready, and so the next,
//! until nothing is left. So the number of allocations is all there is to decide: enough that each has work for the
//! packing time, and no more than there are stages to make at the same time.

use plan::makespan::Job;

/// The rules of packing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Packing {
    /// Seconds of work for an allocation.
    pub(super) seconds: f64,
    /// Stages made at the same time in an allocation; at least one.
    pub(super) workers: usize,
    /// Maximum number of allocations; at least one.
    pub(super) most: usize,
}

/// The number of allocations for these stages, each with its inputs before it; none for no stages.
pub(super) fn allocations(stages: &[Job], packing: &Packing) -> usize {
    if stages.is_empty() {
        return 0;
    }
    let total: f64 = stages.iter().map(|stage| stage.seconds).sum();
    // The cast saturates.
    let by_time = (total / (packing.seconds * packing.workers as f64)).round() as usize;
    let by_width = width(stages).div_ceil(packing.workers);
    by_time.min(by_width).min(packing.most).max(1)
}

/// The maximum number of stages that run at the same time if each starts as soon as its inputs are there.
fn width(stages: &[Job]) -> usize {
    let mut ends: Vec<f64> = Vec::with_capacity(stages.len());
    let mut changes = Vec::with_capacity(2 * stages.len());
    for stage in stages {
        let start = stage.inputs.iter().map(|&input| ends[input]).fold(0.0, f64::max);
        let end = start + stage.seconds;
        ends.push(end);
        changes.extend([(start, 1), (end, -1)]);
    }
    // Of changes at one time, ends come first.
    changes.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let running = changes.iter().scan(0_i64, |running, (_, change)| {
        *running += change;
        Some(*running)
    });
    running.max().unwrap_or(0).max(1) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn jobs(seconds: &[f64], inputs: &[&[usize]]) -> Vec<Job> {
        seconds
            .iter()
            .zip(inputs)
            .map(|(&seconds, inputs)| Job { seconds, inputs: inputs.to_vec() })
            .collect()
    }

    const RULES: Packing = Packing { seconds: 2700.0, workers: 1, most: 32 };

    #[test]
    fn short_experiments_are_one_allocation() {
        assert_eq!(allocations(&[], &RULES), 0);
        assert_eq!(allocations(&jobs(&[1.0; 3], &[&[], &[], &[]]), &RULES), 1);
        let many: Vec<Job> = (0..2000).map(|_| Job { seconds: 1.0, inputs: vec![] }).collect();
        assert_eq!(allocations(&many, &RULES), 1);
    }

    #[test]
    fn a_chain_is_one_allocation_however_long_it_is() {
        let chain = jobs(&[9000.0; 3], &[&[], &[0], &[1]]);
        assert_eq!(allocations(&chain, &RULES), 1);
        let apart = jobs(&[9000.0; 3], &[&[], &[], &[]]);
        assert_eq!(allocations(&apart, &RULES), 3);
        assert_eq!(allocations(&apart, &Packing { workers: 2, ..RULES }), 2);
        assert_eq!(allocations(&apart, &Packing { most: 2, ..RULES }), 2);
    }

    proptest! {
        #[test]
        fn an_allocation_has_work_and_there_are_not_too_many(
            seconds in prop::collection::vec(0.0..20_000.0, 1..60),
            links in prop::collection::vec((0_usize..60, 0_usize..60), 0..60),
            workers in 1_usize..5,
            most in 1_usize..40,
        ) {
            let mut jobs: Vec<Job> = seconds.iter().map(|&seconds| Job { seconds, inputs: vec![] }).collect();
            for (a, b) in links {
                let (input, user) = (a.min(b), a.max(b));
                if input < user && user < jobs.len() {
                    jobs[user].inputs.push(input);
                }
            }
            let packing = Packing { seconds: 2700.0, workers, most };
            let count = allocations(&jobs, &packing);
            prop_assert!((1..=most).contains(&count) && count <= jobs.len());
            let total: f64 = seconds.iter().sum();
            // Rounded: each allocation has at least two thirds of the packing time for each worker.
            prop_assert!(count == 1 || total / (count * workers) as f64 >= 2700.0 * 2.0 / 3.0);
        }
    }
}
