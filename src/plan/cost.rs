//! The cost of a plan: time, memory and disk space of each stage, estimated before anything runs.
//!
//! Operations and bytes are counted ([`Stage::work`](stage::Stage::work)). Times follow from the measured speed of
//! stages of the same kind in this store. If there is none, the speed is guessed from those of the other kinds, which
//! rarely differ by more than a factor of two on one device, or else from that of a typical device.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::graph::{Graph, StageId};
use super::makespan::{Job, speed_up};
use identity::{Fingerprint, Numerics};

use super::{Plan, PlannedStage};
use nn::cost::sum;
use stage::{Known, Networks};
use store::Store;

/// Multiply-adds per second of a thread, if none was measured.
const TYPICAL_THREAD: f64 = 4e10;
/// Multiply-adds per second of a GPU, if none was measured.
const TYPICAL_GPU: f64 = 3e12;
/// Bytes per second of reading and merging models.
const BYTES_A_SECOND: f64 = 1e9;
/// Memory of a stage's process in addition to what is counted: code, buffers of operators, memory retained by the
/// allocator. Training steps of five networks took 98 to 147 MiB more than counted.
const PROCESS_BYTES: u64 = 100 << 20;

/// Estimated cost of making a stage's entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Multiply-adds.
    pub operations: u64,
    /// Time in seconds, if nothing else runs.
    pub seconds: f64,
    /// Peak memory in bytes.
    pub memory_bytes: u64,
    /// Size of the entry in bytes.
    pub disk_bytes: u64,
}

impl Estimate {
    /// The speed for [`Store::note_throughput`], in operations per second, of a stage that took `seconds` on `threads`
    /// threads: per thread on a CPU, per device on a GPU.
    pub fn throughput(&self, seconds: f64, numerics: Numerics, threads: usize) -> f64 {
        self.operations as f64 / seconds / speed_up(threads_that_count(numerics, threads))
    }
}

/// Estimated costs of all stages of a plan.
#[derive(Clone, Debug)]
pub struct Estimates {
    /// Estimates by node index.
    of_stages: Vec<Estimate>,
    /// Kinds of stages with guessed speeds.
    guessed: BTreeSet<&'static str>,
    threads: usize,
}

impl Plan {
    /// Estimates for all stages of a plan on `threads` threads, at the speeds measured in the store.
    pub fn estimates(&self, store: &Store, threads: usize) -> Estimates {
        let threads = threads_that_count(self.numerics, threads);
        let measured = store.throughputs(self.numerics);
        let guess = mean_speed(&measured).unwrap_or_else(|| typical_speed(self.numerics));
        let kinds: BTreeSet<_> = self.graph.stages().map(|stage| stage.spec.kind()).collect();
        let guessed = kinds.into_iter().filter(|&kind| !measured.contains_key(kind)).collect();
        let mut networks = Networks::new(self.numerics);
        let of = |stage: &PlannedStage| {
            let throughput = measured.get(stage.spec.kind()).copied().unwrap_or(guess);
            estimate(stage, &self.graph, throughput * speed_up(threads), &mut networks)
        };
        Estimates { of_stages: self.graph.stages().map(of).collect(), guessed, threads }
    }
}

impl Estimates {
    /// Of a stage.
    pub fn of(&self, node: StageId) -> &Estimate {
        &self.of_stages[node.index()]
    }

    /// The stages of a plan that are to be made as jobs, in the order of the plan. A stage of the same work as an
    /// earlier one waits for it, and then takes no time.
    pub fn jobs(&self, plan: &Plan, needed: &BTreeSet<StageId>) -> Vec<Job> {
        let mut positions = HashMap::new();
        let mut first: HashMap<&Fingerprint, usize> = HashMap::new();
        let nodes = plan.order.iter().copied().filter(|node| needed.contains(node));
        let job = |(position, node): (usize, StageId)| {
            positions.insert(node, position);
            let stage = &plan.graph[node];
            let inputs = stage.inputs.iter().filter_map(|(_, input)| positions.get(input).copied());
            let twin = *first.entry(&stage.fingerprint).or_insert(position);
            let inputs = inputs.chain((twin != position).then_some(twin)).collect();
            let seconds = if twin == position { self.of(node).seconds } else { 0.0 };
            Job { seconds, inputs }
        };
        nodes.enumerate().map(job).collect()
    }

    /// Bytes of the entries of these stages. Stages of the same work have one.
    pub fn disk_bytes(&self, plan: &Plan, nodes: &BTreeSet<StageId>) -> u64 {
        let entry = |&node: &StageId| (&plan.graph[node].fingerprint, self.of(node).disk_bytes);
        let entries: BTreeMap<_, _> = nodes.iter().map(entry).collect();
        sum(entries.into_values())
    }

    /// Threads shared by jobs: those of the estimates, or one for a GPU.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Kinds of these stages of the plan whose time is a guess, sorted: none of them was measured.
    pub fn guessed(&self, plan: &Plan, nodes: &BTreeSet<StageId>) -> Vec<&'static str> {
        let computing = nodes.iter().filter(|node| self.of(**node).operations > 0);
        let kinds: BTreeSet<_> = computing.map(|&node| plan.graph[node].spec.kind()).collect();
        kinds.intersection(&self.guessed).copied().collect()
    }
}

/// The cost of making a stage's entry at this throughput in operations per second. Its inputs are in the graph.
fn estimate(
    stage: &PlannedStage,
    graph: &Graph,
    operations_per_second: f64,
    networks: &mut Networks,
) -> Estimate {
    let work = stage.spec.work(&known(stage, graph), networks);
    let computing = work.operations as f64 / operations_per_second;
    Estimate {
        operations: work.operations,
        seconds: computing + work.bytes_read as f64 / BYTES_A_SECOND,
        memory_bytes: work.memory_bytes.saturating_add(PROCESS_BYTES),
        disk_bytes: work.disk_bytes,
    }
}

fn known<'a>(stage: &'a PlannedStage, graph: &'a Graph) -> Known<'a> {
    let inputs = stage.inputs.iter().map(|(_, node)| &graph[*node]);
    Known {
        inputs: inputs.clone().map(|input| &input.description).collect(),
        input_fingerprints: inputs.clone().map(|input| input.fingerprint).collect(),
        began_at: inputs.map(|_| None).collect(), // used by `describe` alone
        datasets: stage.datasets.iter().map(|(_, dataset)| dataset.known()).collect(),
    }
}

/// Jobs on one GPU share it as jobs on one thread do.
fn threads_that_count(numerics: Numerics, threads: usize) -> usize {
    match numerics {
        Numerics::Cpu => threads,
        Numerics::Cuda(_) => 1,
    }
}

/// The geometric mean of the measured speeds, if there are any.
fn mean_speed(measured: &BTreeMap<String, f64>) -> Option<f64> {
    let logarithms: f64 = measured.values().map(|speed| speed.ln()).sum();
    (!measured.is_empty()).then(|| (logarithms / measured.len() as f64).exp())
}

fn typical_speed(numerics: Numerics) -> f64 {
    match numerics {
        Numerics::Cpu => TYPICAL_THREAD,
        Numerics::Cuda(_) => TYPICAL_GPU,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Lab, finetune};
    use super::*;

    fn kinds_guessed(plan: &Plan, estimates: &Estimates) -> Vec<&'static str> {
        estimates.guessed(plan, &plan.needed())
    }

    #[test]
    fn times_follow_from_the_measured_speed_of_the_kind() {
        let lab = Lab::new();
        let plan = lab.plan();
        let seconds = |threads| {
            let estimates = plan.estimates(&lab.store, threads);
            plan.order.iter().map(|&node| estimates.of(node).seconds).collect::<Vec<_>>()
        };
        let guessed = seconds(1);
        let note = |kind, speed| lab.store.note_throughput(Numerics::Cpu, kind, speed).unwrap();
        note("finetune", TYPICAL_THREAD / 4.0);
        note("evaluate", TYPICAL_THREAD);
        assert_eq!(seconds(1)[1..], [4.0 * guessed[1], guessed[2]]);
        assert_eq!(seconds(8)[2], guessed[2] / speed_up(8));
        let pretrain = seconds(1)[0] / guessed[0];
        assert!(
            (pretrain - 2.0).abs() < 1e-9,
            "{pretrain}: kinds that did not run are guessed from those that did"
        );
    }

    #[test]
    fn a_measured_stage_is_estimated_to_take_as_long_again() {
        let lab = Lab::new();
        let plan = lab.plan();
        let node = plan.order[1];
        let first = *plan.estimates(&lab.store, 3).of(node);
        lab.store
            .note_throughput(Numerics::Cpu, "finetune", first.throughput(12.5, Numerics::Cpu, 3))
            .unwrap();
        assert!((plan.estimates(&lab.store, 3).of(node).seconds - 12.5).abs() < 1e-6);
    }

    #[test]
    fn cpu_threads_do_not_count_on_a_gpu() {
        let lab = Lab::new();
        let mut plan = lab.plan();
        plan.numerics = Numerics::Cuda(identity::Precision::F32);
        let estimates = plan.estimates(&lab.store, 16);
        let estimate = estimates.of(plan.order[0]);
        assert_eq!(estimates.threads(), 1);
        assert_eq!(estimate.throughput(2.0, plan.numerics, 16), estimate.operations as f64 / 2.0);
    }

    #[test]
    fn kinds_that_compute_and_were_not_measured_are_listed_as_guessed() {
        let lab = Lab::new();
        let plan = lab.plan();
        assert_eq!(
            kinds_guessed(&plan, &plan.estimates(&lab.store, 1)),
            ["evaluate", "finetune", "pretrain"]
        );
        lab.store.note_throughput(Numerics::Cpu, "finetune", 1e9).unwrap();
        assert_eq!(kinds_guessed(&plan, &plan.estimates(&lab.store, 1)), ["evaluate", "pretrain"]);
    }

    #[test]
    fn jobs_depend_on_stale_inputs() {
        let lab = Lab::new();
        let plan = lab.plan();
        let estimates = plan.estimates(&lab.store, 1);
        let inputs = |needed: &[usize]| {
            let needed = needed.iter().map(|&i| plan.order[i]).collect();
            estimates.jobs(&plan, &needed).into_iter().map(|job| job.inputs).collect::<Vec<_>>()
        };
        assert_eq!(inputs(&[0, 1, 2]), [vec![], vec![0], vec![1]]);
        assert_eq!(inputs(&[1, 2]), [vec![], vec![0]], "the source is fresh");
    }

    #[test]
    fn the_same_work_takes_time_once() {
        let mut lab = Lab::new();
        lab.experiment.stages.push(finetune("twin", 0, 1));
        let plan = lab.plan();
        let estimates = plan.estimates(&lab.store, 1);
        let jobs = estimates.jobs(&plan, &plan.needed());
        assert_eq!(jobs[3], Job { seconds: 0.0, inputs: vec![0, 1] }, "it waits for `tuned`");
        assert_eq!(estimates.of(plan.order[3]), estimates.of(plan.order[1]));
    }
}
