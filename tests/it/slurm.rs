//! Runs on a Slurm of this machine: whatever happens to the run, its jobs or Slurm, the results are those of a local
//! run, each stage is made once, and nothing is left in the queue.
//!
//! `MEDMERGE_TEST_SLURM=1 cargo test --release --test it slurm::` sets up the Slurm. Without the variable, it is not
//! tested.

mod cluster;
mod stand_in;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use predicates::prelude::*;
use predicates::str::contains;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::builder::{EXPERIMENT, Workplace};
use crate::kill::{Made, assert_same, finish, made, wait_for_an_epoch};
use crate::pipeline::STAGES;
use cluster::{Cluster, Head, calls, desk, elements, kill, log, log_files, stages_made, workers};
use stand_in::stand_in;

/// Long enough to be hit in the middle of trainings.
fn experiment() -> String {
    EXPERIMENT.replace("epochs = 1", "epochs = 60")
}

/// What a local run makes.
fn whole() -> &'static Made {
    static WHOLE: OnceLock<Made> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let workplace = Workplace::new(&experiment());
        finish(&workplace);
        made(&workplace)
    })
}

/// The run has ended well: its entries and tables are those of a local run, and the queue is empty.
fn ends_well(cluster: &Cluster, workplace: &Workplace, head: &mut Head) {
    ends_well_as(whole(), cluster, workplace, head);
}

/// The same; this is what a local run makes.
fn ends_well_as(whole: &Made, cluster: &Cluster, workplace: &Workplace, head: &mut Head) {
    let code = cluster.wait_for(head);
    assert_eq!(code, Some(0), "{}\n{}", head.stderr(), log(workplace));
    assert_same(&made(workplace), whole);
    // A local run finds everything, and nothing is left but what it needs.
    finish(workplace);
    cluster.is_left_empty();
}

/// The same; each stage was made once.
fn ends_well_with_each_stage_made_once(cluster: &Cluster, workplace: &Workplace, head: &mut Head) {
    ends_well(cluster, workplace, head);
    assert_eq!(stages_made(workplace), STAGES, "{}", log(workplace));
}

/// Wait until an allocation is in the middle of a training.
fn wait_for_work(cluster: &Cluster, workplace: &Workplace) {
    cluster.wait_until("a job", || cluster.job("RUNNING").is_some());
    wait_for_an_epoch(workplace);
}

/// A run in the middle of a training.
fn a_run_at_work(cluster: &Cluster, arguments: &[&str]) -> (Workplace, Head) {
    let workplace = Workplace::new(&experiment());
    let head = Head::start(&workplace, arguments);
    wait_for_work(cluster, &workplace);
    (workplace, head)
}

#[test]
fn a_run_has_the_bytes_of_a_local_one_and_asks_little_of_slurm() {
    let Some(cluster) = Cluster::take() else { return };
    let workplace = Workplace::new(&experiment());
    let start = Instant::now();
    let mut head = Head::start(&workplace, &["--slurm-query", "30"]);
    ends_well_with_each_stage_made_once(&cluster, &workplace, &mut head);
    let last = format!("executed {STAGES}, fresh 0, failed 0, skipped 0 in ");
    assert!(head.stderr().contains(&last), "{}", head.stderr());
    let most = start.elapsed().as_secs() / 30;
    assert!(queries(&workplace) as u64 <= most, "{} queries", queries(&workplace));
    assert_eq!(elements(&workplace), 1);
    assert_eq!(calls(&workplace, "sbatch").len(), 2, "one sbatch tests, and one submits");
}

/// Calls that ask the controller for something.
fn queries(workplace: &Workplace) -> usize {
    ["squeue", "sacct", "scontrol"].map(|program| calls(workplace, program).len()).iter().sum()
}

#[test]
fn the_quick_start_has_the_bytes_of_a_local_run_in_few_jobs_and_queries() {
    let Some(cluster) = Cluster::take() else { return };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/quickstart.toml");
    let text = std::fs::read_to_string(file).expect("the quick start");
    let text = text.replace("name = \"quickstart\"", "name = \"tiny\"");
    let [local, workplace] = [(); 2].map(|()| Workplace::new(&text));
    finish(&local);
    let start = Instant::now();
    let threads = std::thread::available_parallelism().expect("a number").to_string();
    // The default of every interval.
    let mut head = Head::start(&workplace, &["--slurm-cpus", &threads, "--slurm-query", "60"]);
    ends_well_as(&made(&local), &cluster, &workplace, &mut head);
    let (seconds, jobs, queries) = (start.elapsed().as_secs(), elements(&workplace), queries(&workplace));
    println!("{} stages, {jobs} allocations, {queries} queries in {seconds} s", stages_made(&workplace));
    assert_eq!(stages_made(&workplace), 68);
    assert!(jobs <= 6 && queries as u64 <= seconds / 30, "{jobs} allocations, {queries} queries");
}

#[test]
fn an_array_of_several_allocations_makes_each_stage_once() {
    let Some(cluster) = Cluster::take() else { return };
    // As if this computer were slow, so that a minute's work is little.
    let kinds = ["pretrain", "finetune", "learn_merge_weights", "merge", "evaluate"];
    let slow = kinds.map(|kind| format!("\"{kind}\": 1e8")).join(", ");
    let workplace = Workplace::new(&experiment())
        .with(".medmerge/throughput.json", format!("{{\"cpu-f32\": {{{slow}}}}}"));
    let mut head = Head::start(&workplace, &["--slurm-pack", "1"]);
    cluster.wait_until("two allocations at work", || {
        cluster.queue().iter().filter(|[_, _, state]| state == "RUNNING").count() == 2
    });
    ends_well_with_each_stage_made_once(&cluster, &workplace, &mut head);
    let submitted = calls(&workplace, "sbatch").iter().filter(|call| call.contains("--parsable")).count();
    assert!(elements(&workplace) >= 2, "{:?}", calls(&workplace, "sbatch"));
    assert_eq!(submitted, 1, "{:?}", calls(&workplace, "sbatch"));
    let allocations = log_files(&workplace).into_iter().filter(|log| log.contains(": made in ")).count();
    assert!(allocations >= 2, "{}", log(&workplace));
}

#[test]
fn a_run_that_is_killed_again_and_again_finds_its_jobs_and_submits_nothing_twice() {
    let Some(cluster) = Cluster::take() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let workplace = Workplace::new(&experiment());
    let mut told = String::new();
    for _ in 0..5 {
        let mut head = Head::start(&workplace, &[]);
        std::thread::sleep(Duration::from_millis(rng.random_range(200..2500)));
        head.kill();
        told += &head.stderr();
    }
    let mut head = Head::start(&workplace, &[]);
    ends_well_with_each_stage_made_once(&cluster, &workplace, &mut head);
    told += &head.stderr();
    assert!(told.contains("1 allocation of an earlier run found; it goes on"), "{told}");
    let submitted = calls(&workplace, "sbatch").iter().filter(|call| call.contains("--parsable")).count();
    assert!(submitted <= 1, "{:?}", calls(&workplace, "sbatch"));
}

#[test]
fn a_second_run_of_an_experiment_is_refused_while_there_is_one() {
    let Some(cluster) = Cluster::take() else { return };
    let (workplace, mut head) = a_run_at_work(&cluster, &[]);
    let second = workplace.medmerge(&["run", "experiment.toml", "--executor", "slurm"]).assert().code(2);
    second.stderr(contains("another `medmerge run` of tiny is at work"));
    let status = workplace.medmerge(&["status"]).assert().code(0);
    status.stdout(contains("tiny: running; ").and(contains(" on Slurm: ")).and(contains(", by job ")));
    ends_well_with_each_stage_made_once(&cluster, &workplace, &mut head);
}

#[test]
fn ctrl_c_cancels_the_jobs_and_the_same_command_goes_on() {
    let Some(cluster) = Cluster::take() else { return };
    let (workplace, mut head) = a_run_at_work(&cluster, &[]);
    head.signal("-INT");
    assert_eq!(cluster.wait_for(&mut head), Some(130), "{}", head.stderr());
    assert_eq!(calls(&workplace, "scancel").len(), 1);
    assert!(cluster.queue().is_empty(), "the run has waited for that: {:?}", cluster.queue());
    let mut head = Head::start(&workplace, &[]);
    ends_well_with_each_stage_made_once(&cluster, &workplace, &mut head);
}

#[test]
fn a_detached_run_leaves_its_jobs_and_is_followed_later() {
    let Some(cluster) = Cluster::take() else { return };
    let workplace = Workplace::new(&experiment());
    let mut head = Head::start(&workplace, &["--detach"]);
    assert_eq!(cluster.wait_for(&mut head), Some(0), "{}", head.stderr());
    assert!(head.stderr().contains("submitted 1 allocation as job "), "{}", head.stderr());
    assert!(head.stderr().contains(&format!("left to Slurm: {STAGES} stages")), "{}", head.stderr());
    wait_for_work(&cluster, &workplace);
    workplace.medmerge(&["status"]).assert().code(0).stdout(contains("left to Slurm; to follow it"));
    let mut head = Head::start(&workplace, &[]);
    ends_well_with_each_stage_made_once(&cluster, &workplace, &mut head);
    assert!(head.stderr().contains("1 allocation of an earlier run found"), "{}", head.stderr());
}

#[test]
fn a_detached_run_is_made_without_anybody() {
    let Some(cluster) = Cluster::take() else { return };
    let workplace = Workplace::new(&experiment());
    let mut head = Head::start(&workplace, &["--detach"]);
    assert_eq!(cluster.wait_for(&mut head), Some(0), "{}", head.stderr());
    cluster.wait_until("the end of the jobs", || cluster.queue().is_empty());
    assert_eq!(stages_made(&workplace), STAGES, "{}", log(&workplace));
    let mut head = Head::start(&workplace, &[]);
    ends_well(&cluster, &workplace, &mut head);
    assert!(head.stderr().contains("executed 0, fresh 16"), "{}", head.stderr());
}

#[test]
fn a_killed_allocation_is_replaced() {
    let Some(cluster) = Cluster::take() else { return };
    let (workplace, mut head) = a_run_at_work(&cluster, &[]);
    workers(&workplace, true).iter().for_each(|process| kill("-9", *process));
    ends_well_with_each_stage_made_once(&cluster, &workplace, &mut head);
    assert!(head.stderr().contains("is FAILED"), "{}", head.stderr());
    assert_eq!(calls(&workplace, "sbatch").len(), 3, "a test and two submissions");
}

#[test]
fn a_worker_that_is_killed_as_for_memory_is_tried_again_with_more() {
    let Some(cluster) = Cluster::take() else { return };
    let (workplace, mut head) = a_run_at_work(&cluster, &["--slurm-memory", "400M"]);
    workers(&workplace, false).iter().for_each(|process| kill("-9", *process));
    ends_well_with_each_stage_made_once(&cluster, &workplace, &mut head);
    assert!(head.stderr().contains("again with 800 MiB"), "{}", head.stderr());
    assert!(head.stderr().contains("1 CPU, 800 MiB"), "{}", head.stderr());
}

#[test]
fn a_job_that_someone_cancels_is_replaced() {
    let Some(cluster) = Cluster::take() else { return };
    let (workplace, mut head) = a_run_at_work(&cluster, &[]);
    cluster.call("scancel", &[&cluster.job("RUNNING").expect("a job")]);
    ends_well_with_each_stage_made_once(&cluster, &workplace, &mut head);
    assert!(head.stderr().contains("is CANCELLED"), "{}", head.stderr());
}

#[test]
fn a_node_that_is_drained_finishes_its_jobs_and_one_that_fails_loses_them() {
    let Some(cluster) = Cluster::take() else { return };
    let (workplace, mut head) = a_run_at_work(&cluster, &[]);
    cluster.set_node("DRAIN");
    std::thread::sleep(Duration::from_secs(2));
    assert!(cluster.job("RUNNING").is_some(), "{:?}", cluster.queue());
    cluster.set_node("DOWN");
    cluster.wait_until("a job that waits", || cluster.job("PENDING").is_some());
    std::thread::sleep(Duration::from_secs(5));
    cluster.set_node("RESUME");
    ends_well_with_each_stage_made_once(&cluster, &workplace, &mut head);
}

#[test]
fn a_node_that_is_drained_and_resumed_loses_nothing() {
    let Some(cluster) = Cluster::take() else { return };
    let (workplace, mut head) = a_run_at_work(&cluster, &[]);
    cluster.set_node("DRAIN");
    std::thread::sleep(Duration::from_secs(5));
    let drained = cluster.call("sinfo", &["--noheader", "--format=%T"]);
    assert!(drained.starts_with("drain"), "{drained}");
    assert!(cluster.job("RUNNING").is_some(), "{:?}", cluster.queue());
    cluster.set_node("RESUME");
    ends_well_with_each_stage_made_once(&cluster, &workplace, &mut head);
    assert_eq!(elements(&workplace), 1, "{}", head.stderr());
}

#[test]
fn a_preempted_job_saves_goes_back_to_the_queue_and_goes_on() {
    let Some(cluster) = Cluster::take() else { return };
    let (workplace, mut head) = a_run_at_work(&cluster, &[]);
    let all = std::thread::available_parallelism().expect("a number").to_string();
    cluster.call(
        "sbatch",
        &["--partition=high", "--cpus-per-task", &all, "--output=/dev/null", "--wrap=sleep 3"],
    );
    cluster.wait_until("a job that waits", || cluster.job("PENDING").is_some());
    ends_well_with_each_stage_made_once(&cluster, &workplace, &mut head);
    let again = calls(&workplace, "sbatch").len();
    assert_eq!(again, 2, "the job was requeued, not replaced: {}", head.stderr());
    assert!(log(&workplace).contains(": stopped"), "{}", log(&workplace));
}

#[test]
fn a_training_longer_than_the_time_limit_is_continued_until_it_is_done() {
    let Some(cluster) = Cluster::take() else { return };
    // Slurm may send the signal a minute early.
    let long = experiment().replace("seed = 7", "seed = 7\nepochs = 2400");
    let workplace = Workplace::new(&long);
    let mut head =
        Head::start(&workplace, &["--slurm-time", "1", "--slurm-signal", "45", "--only", "source_a"]);
    assert_eq!(cluster.wait_for(&mut head), Some(0), "{}\n{}", head.stderr(), log(&workplace));
    assert!(log(&workplace).contains("source_a: stopped"), "{}", log(&workplace));
    assert_eq!(stages_made(&workplace), 1);
    cluster.is_left_empty();
    is_trained_as_locally(&workplace, &long);
}

/// The entry of `source_a` is the one of a local run of this experiment.
fn is_trained_as_locally(workplace: &Workplace, text: &str) {
    let local = Workplace::new(text);
    local.medmerge(&["run", "experiment.toml", "--only", "source_a"]).assert().code(0);
    let entries = |workplace: &Workplace| crate::pipeline::entries(&workplace.path(".medmerge"));
    let models = |workplace: &Workplace| -> Vec<_> {
        entries(workplace).into_iter().filter(|(name, _)| !name.ends_with("log.txt")).collect()
    };
    assert_same(&models(workplace), &models(&local));
}

#[test]
fn a_time_limit_that_is_reached_ends_an_allocation_and_the_next_one_goes_on() {
    let Some(cluster) = Cluster::take() else { return };
    let long = experiment().replace("seed = 7", "seed = 7\nepochs = 8000");
    let workplace = Workplace::new(&long);
    let start = Instant::now();
    // No warning: a signal that says nothing.
    let unwarned = "--slurm-option=--signal=B:CONT@1";
    let mut head = Head::start(&workplace, &["--slurm-time", "1", unwarned, "--only", "source_a"]);
    assert_eq!(cluster.wait_for(&mut head), Some(0), "{}\n{}", head.stderr(), log(&workplace));
    let (seconds, ends) = (start.elapsed().as_secs(), head.stderr().matches(" is TIMEOUT").count());
    println!("{seconds} s in {} allocations, of which {ends} ran into the limit", elements(&workplace));
    assert!(seconds >= 150, "the stage is too short: {seconds} s");
    assert!(ends >= 2, "{}", head.stderr());
    assert_eq!((elements(&workplace), stages_made(&workplace)), (ends + 1, 1));
    cluster.is_left_empty();
    is_trained_as_locally(&workplace, &long);
}

#[test]
fn a_controller_that_is_away_is_waited_for() {
    let Some(cluster) = Cluster::take() else { return };
    let long = experiment().replace("epochs = 60", "epochs = 480");
    let local = Workplace::new(&long);
    finish(&local);
    let workplace = Workplace::new(&long);
    let mut head = Head::start(&workplace, &[]);
    wait_for_work(&cluster, &workplace);
    cluster.set_up("stop-controller");
    std::thread::sleep(Duration::from_secs(60));
    cluster.set_up("start-controller");
    assert!(cluster.job("RUNNING").is_some(), "it is at work: {:?}", cluster.queue());
    ends_well_as(&made(&local), &cluster, &workplace, &mut head);
    assert_eq!(stages_made(&workplace), STAGES, "{}", log(&workplace));
    assert_eq!(elements(&workplace), 1, "{}", head.stderr());
    assert!(head.stderr().contains("Slurm does not answer"), "{}", head.stderr());
}

#[test]
fn a_run_starts_when_the_controller_is_back() {
    let Some(cluster) = Cluster::take() else { return };
    cluster.set_up("stop-controller");
    let workplace = Workplace::new(&experiment());
    let mut head = Head::start(&workplace, &[]);
    std::thread::sleep(Duration::from_secs(25));
    cluster.set_up("start-controller");
    ends_well_with_each_stage_made_once(&cluster, &workplace, &mut head);
}

#[test]
fn a_job_that_the_controller_has_forgotten_is_looked_up_in_the_accounting_or_replaced() {
    let Some(cluster) = Cluster::take() else { return };
    for accounting in
        ["echo \"$(cat job)|OUT_OF_MEMORY\"", "echo 'Slurm accounting storage is disabled' >&2; exit 1"]
    {
        let workplace = Workplace::new(&experiment());
        let forgetful = "[ -e gone ] || exec /usr/bin/squeue \"$@\"";
        stand_in(&workplace, "sacct", accounting);
        let path = stand_in(&workplace, "squeue", forgetful);
        let mut head =
            Head::start_with(&workplace, &["--slurm-memory", "400M"], |command| command.env("PATH", &path));
        wait_for_work(&cluster, &workplace);
        // Once, so that it is known to the run.
        cluster.wait_until("a query", || !calls(&workplace, "squeue").is_empty());
        let job = cluster.job("RUNNING").expect("a job");
        std::fs::write(workplace.path("job"), &job).expect("a file");
        workers(&workplace, true).iter().for_each(|process| kill("-9", *process));
        std::fs::write(workplace.path("gone"), "").expect("a file");
        cluster.wait_until("a submission", || calls(&workplace, "sbatch").len() == 3);
        std::fs::remove_file(workplace.path("gone")).expect("a file");
        ends_well_with_each_stage_made_once(&cluster, &workplace, &mut head);
        let said = if accounting.starts_with("echo \"") { "OUT_OF_MEMORY" } else { "no longer in the queue" };
        assert!(head.stderr().contains(said), "{}", head.stderr());
    }
}

#[test]
fn what_slurm_refuses_is_told_before_anything_is_submitted() {
    let Some(cluster) = Cluster::take() else { return };
    let wrong = [
        ("--slurm-partition=nope", "invalid partition specified: nope"),
        ("--slurm-gres=gpu:1", "Invalid generic resource"),
        ("--slurm-constraint=avx9", "Invalid feature specification"),
        ("--slurm-option=--begin=soon", "Invalid --begin specification"),
        ("--slurm-memory=9000G", "Requested node configuration is not available"),
    ];
    for (flag, said) in wrong {
        let workplace = Workplace::new(EXPERIMENT);
        let mut head = Head::start(&workplace, &[flag]);
        assert_eq!(cluster.wait_for(&mut head), Some(2), "{flag}: {}", head.stderr());
        assert!(head.stderr().contains("Slurm refuses an allocation with "), "{}", head.stderr());
        assert!(head.stderr().contains(said), "{}", head.stderr());
        assert_eq!(calls(&workplace, "sbatch").len(), 1, "{flag}");
    }
    // Without accounting, this Slurm takes any account.
    let workplace = Workplace::new(EXPERIMENT);
    let refusal = "echo 'sbatch: error: Batch job submission failed: Invalid account or account/partition combination \
                   specified' >&2; exit 1";
    let path = stand_in(&workplace, "sbatch", refusal);
    let mut head =
        Head::start_with(&workplace, &["--slurm-account=nobody"], |command| command.env("PATH", &path));
    assert_eq!(cluster.wait_for(&mut head), Some(2), "{}", head.stderr());
    assert!(
        head.stderr().contains("account nobody") && head.stderr().contains("sacctmgr"),
        "{}",
        head.stderr()
    );
    assert!(cluster.queue().is_empty());
}

#[test]
fn allocations_that_never_work_end_the_run_with_their_log() {
    let Some(cluster) = Cluster::take() else { return };
    let workplace = Workplace::new(EXPERIMENT);
    let mut head = Head::start(&workplace, &["--slurm-setup", "module load cuda/99 || exit 1"]);
    assert_eq!(cluster.wait_for(&mut head), Some(2), "{}", head.stderr());
    let stderr = head.stderr();
    assert!(stderr.contains("allocations of Slurm end before they make anything; see "), "{stderr}");
    assert!(stderr.contains("module: command not found"), "{stderr}");
    assert_eq!(calls(&workplace, "sbatch").len(), 5, "a test and four submissions");
    cluster.is_left_empty();
}

#[test]
fn a_local_run_and_one_on_slurm_share_a_store_and_make_each_stage_once() {
    let Some(cluster) = Cluster::take() else { return };
    let workplace = Workplace::new(&experiment());
    let mut head = Head::start(&workplace, &[]);
    wait_for_work(&cluster, &workplace);
    let mut local = Command::new(env!("CARGO_BIN_EXE_medmerge"));
    let local = local.args(["run", "experiment.toml", "--jobs", "2"]).current_dir(workplace.path(""));
    let local = local.env_remove("MEDMERGE_STORE").env_remove("MEDMERGE_RESULTS");
    let local = local.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a run");
    let local = local.wait_with_output().expect("a run");
    let local = String::from_utf8_lossy(&local.stderr).into_owned();
    ends_well(&cluster, &workplace, &mut head);
    let made_by = |stderr: &str| {
        let count = stderr
            .lines()
            .last()
            .and_then(|line| line.strip_prefix("executed ")?.split(',').next()?.parse().ok());
        count.unwrap_or_else(|| panic!("no count: {stderr}"))
    };
    let (here, there): (usize, usize) = (made_by(&local), made_by(&head.stderr()));
    assert_eq!(here + there, STAGES, "{here} here, {there} there");
    assert!(here > 0 && there > 0, "{here} here, {there} there");
}

/// Two thousand stages that take milliseconds.
fn many_stages(count: usize) -> String {
    format!(
        "[experiment]\nname = 'tiny'\n[sweep]\nseed = [{}]\n\
         [dataset.cells.phantom]\nfamily = 'cells'\nsize = 12\ntrain = 8\nval = 8\ntest = 8\n\
         [train]\nepochs = 1\nbatch_size = 8\n\
         [stage.source.pretrain]\nbackbone.resnet18 = {{ stem = 'small', width = 4 }}\ndataset = 'cells'\nseed = 1\n\
         [stage.probe.finetune]\nfrom = 'source'\ndataset = 'cells'\ntrainable = 'head'\n",
        (0..count).map(|seed| seed.to_string()).collect::<Vec<_>>().join(", ")
    )
}

#[test]
fn thousands_of_small_stages_are_packed() {
    let Some(cluster) = Cluster::take() else { return };
    const COUNT: usize = 2000;
    let workplace = Workplace::new(&many_stages(COUNT));
    let start = Instant::now();
    let mut head = Head::start(&workplace, &[]);
    assert_eq!(cluster.wait_for(&mut head), Some(0), "{}", head.stderr());
    let seconds = start.elapsed().as_secs_f64();
    let text = log(&workplace);
    let made = text
        .lines()
        .filter_map(|line| line.split_once(": made in ")?.1.strip_suffix(" s")?.parse::<f64>().ok());
    let (count, work) = made.fold((0, 0.0), |(count, work), seconds| (count + 1, work + seconds));
    assert_eq!(count, COUNT + 1);
    let jobs = elements(&workplace);
    let overhead = (seconds - work) / COUNT as f64;
    println!(
        "{COUNT} stages in {jobs} allocations, {seconds:.1} s, {:.1} ms overhead a stage",
        overhead * 1e3
    );
    assert!(jobs <= 40 && overhead <= 0.1, "{jobs} jobs, {overhead} s");
    cluster.is_left_empty();
}

#[test]
fn the_plan_says_what_would_be_submitted() {
    let workplace =
        Workplace::new(EXPERIMENT).with("medmerge.toml", "[executor.slurm]\npartition = 'gpu'\ncpus = 8\n");
    let plan = workplace.medmerge(&["plan", "experiment.toml", "--executor", "slurm", "--slurm-time", "30"]);
    let mut plan = plan;
    let plan = plan.env("HOME", workplace.path("")).env_remove("XDG_CONFIG_HOME").assert().code(0);
    plan.stdout(
        contains("Slurm: 1 allocation with about")
            .and(contains("partition gpu, 8 CPUs, "))
            .and(contains("0:30:00")),
    );
    let wrong = Workplace::new(EXPERIMENT).with("medmerge.toml", "[executor.slurm]\npartitoin = 'gpu'\n");
    let plan = wrong.medmerge(&["plan", "experiment.toml", "--executor", "slurm"]).assert().code(2);
    plan.stderr(contains("medmerge.toml").and(contains("unknown field `partitoin`")));
    assert!(!desk(&workplace).exists());
}

#[test]
fn options_of_slurm_are_refused_with_another_executor() {
    let workplace = Workplace::new(EXPERIMENT);
    for (arguments, told) in [
        (
            ["run", "experiment.toml", "--slurm-cpus=2"],
            "a --slurm flag is for Slurm alone; add --executor slurm",
        ),
        (
            ["plan", "experiment.toml", "--slurm-cpus=2"],
            "a --slurm flag is for Slurm alone; add --executor slurm",
        ),
        (["run", "experiment.toml", "--detach"], "--detach leaves stages to Slurm; add --executor slurm"),
    ] {
        workplace.medmerge(&arguments).assert().code(2).stderr(contains(told));
    }
    workplace.medmerge(&["status"]).assert().code(0).stdout(contains("no run yet"));
}
