//! Runs on a Slurm of this machine: whatever happens to the run, its jobs or Slurm, the results are those of a local
//! run, each stage is made once, and nothing is left in the queue.
//!
//! `MEDMERGE_TEST_SLURM=1 cargo test --release --test it slurm::` sets up the Slurm. Without the variable, it is not
//! tested.

mod cluster;

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
use cluster::{Cluster, Head, calls, desk, kill, log, stages_made, workers};

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

/// The run has ended well: its results are those of a local run, and the queue is empty.
fn ends_well(cluster: &Cluster, workplace: &Workplace, head: &mut Head) {
    let code = cluster.wait_for(head);
    assert_eq!(code, Some(0), "{}\n{}", head.stderr(), log(workplace));
    finish(workplace);
    assert_same(&made(workplace), whole());
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
    let (queries, jobs) = (calls(&workplace, "squeue").len(), calls(&workplace, "sbatch").len() - 1);
    let most = start.elapsed().as_secs() / 30;
    assert!(queries as u64 <= most, "{queries} queries");
    assert_eq!(jobs, 1, "one sbatch tests, and one submits");
}

#[test]
fn a_run_that_is_killed_again_and_again_finds_its_jobs_and_submits_nothing_twice() {
    let Some(cluster) = Cluster::take() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let workplace = Workplace::new(&experiment());
    for _ in 0..5 {
        let mut head = Head::start(&workplace, &[]);
        std::thread::sleep(Duration::from_millis(rng.random_range(200..2500)));
        head.kill();
    }
    let mut head = Head::start(&workplace, &[]);
    ends_well_with_each_stage_made_once(&cluster, &workplace, &mut head);
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
    cluster.is_left_empty();
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
    let node =
        cluster.call("sinfo", &["--noheader", "--format=%n"]).lines().next().expect("a node").to_owned();
    let update = |state: &str| {
        cluster.call(
            "scontrol",
            &["update", &format!("NodeName={node}"), &format!("State={state}"), "Reason=test"],
        )
    };
    update("DRAIN");
    std::thread::sleep(Duration::from_secs(2));
    assert!(cluster.job("RUNNING").is_some(), "{:?}", cluster.queue());
    update("DOWN");
    cluster.wait_until("a job that waits", || cluster.job("PENDING").is_some());
    std::thread::sleep(Duration::from_secs(5));
    update("RESUME");
    ends_well_with_each_stage_made_once(&cluster, &workplace, &mut head);
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
    let local = Workplace::new(&long);
    local.medmerge(&["run", "experiment.toml", "--only", "source_a"]).assert().code(0);
    let entries = |workplace: &Workplace| crate::pipeline::entries(&workplace.path(".medmerge"));
    let models = |workplace: &Workplace| -> Vec<_> {
        entries(workplace).into_iter().filter(|(name, _)| !name.ends_with("log.txt")).collect()
    };
    assert_same(&models(&workplace), &models(&local));
}

#[test]
fn a_controller_that_is_away_is_waited_for() {
    let Some(cluster) = Cluster::take() else { return };
    let (workplace, mut head) = a_run_at_work(&cluster, &[]);
    cluster.set_up("stop-controller");
    std::thread::sleep(Duration::from_secs(15));
    cluster.set_up("start-controller");
    ends_well_with_each_stage_made_once(&cluster, &workplace, &mut head);
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

/// A folder with programs that stand in for those of Slurm.
fn stand_in(workplace: &Workplace, name: &str, script: &str) -> std::ffi::OsString {
    use std::os::unix::fs::PermissionsExt;
    let folder = workplace.path("bin");
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/bash\n{script}\n")).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    let mut all = folder.into_os_string();
    all.push(":");
    all.push(std::env::var_os("PATH").unwrap_or_default());
    all
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
    assert_ne!(cluster.wait_for(&mut head), Some(0));
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
    let jobs = calls(&workplace, "sbatch").len() - 1;
    let overhead = (seconds - work) / COUNT as f64;
    println!(
        "{COUNT} stages in {jobs} submissions, {seconds:.1} s, {:.1} ms overhead a stage",
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
