//! What is asked of Slurm for an allocation, and the batch script that asks for it.

use std::fmt;
use std::fmt::Write;
use std::path::Path;

use kind::text::shell;

use super::super::{WorkerDevice, Workers};
use super::packing::Packing;
use super::settings::{DEFAULT_CPUS, Settings, mebibytes, seconds};
use crate::scheduler::Job;

const DEFAULT_PACK: u64 = 45;
const DEFAULT_ALLOCATIONS: usize = 32;
const DEFAULT_TIME: u64 = 3600;
const DEFAULT_SIGNAL: u64 = 120;
const DEFAULT_IDLE: u64 = 60;

/// How often an allocation that was preempted or ran into its time limit goes back to the queue by itself.
const MAX_RESTARTS: usize = 50;

/// What an allocation asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    settings: Settings,
    /// CPUs.
    pub(super) cpus: usize,
    /// Memory in mebibytes.
    pub(super) memory: u64,
    /// Time limit in seconds.
    time: u64,
    /// Generic resources.
    gres: Option<String>,
    /// Stages at the same time.
    pub(super) workers: usize,
}

impl Request {
    /// The request for these jobs, by settings, and where these say nothing, by estimate.
    pub fn new(settings: &Settings, jobs: &[Job], workers: &Workers) -> Self {
        let on_gpu = workers.devices.iter().any(|device| matches!(device, WorkerDevice::Cuda(_)));
        let gres = settings.gres.clone().or_else(|| on_gpu.then(|| "gpu:1".into()));
        let gpus = gres.as_deref().filter(|_| on_gpu).map_or(1, gpus);
        let at_once = settings.workers.unwrap_or(gpus);
        let longest = jobs.iter().map(|job| job.seconds).fold(0.0, f64::max);
        let peak = jobs.iter().map(|job| job.need.memory).max().unwrap_or_default();
        Self {
            settings: settings.clone(),
            cpus: settings.cpus.unwrap_or(DEFAULT_CPUS),
            memory: settings.memory.as_deref().and_then(mebibytes).unwrap_or_else(|| enough(peak, at_once)),
            time: settings.time.as_deref().and_then(seconds).unwrap_or_else(|| limit(longest)),
            gres,
            workers: at_once,
        }
    }

    /// The rules of packing.
    pub(super) fn packing(&self) -> Packing {
        let Settings { pack, allocations, .. } = self.settings;
        Packing {
            seconds: (pack.unwrap_or(DEFAULT_PACK) * 60) as f64,
            workers: self.workers,
            most: allocations.unwrap_or(DEFAULT_ALLOCATIONS),
        }
    }

    /// Threads of a stage.
    pub(super) fn threads(&self) -> usize {
        (self.cpus / self.workers).max(1)
    }

    /// Maximum number of allocations of an array that run at once.
    pub(super) fn array_limit(&self) -> Option<usize> {
        self.settings.array_limit
    }

    /// The same with this memory in mebibytes.
    pub(super) fn with_memory(&self, memory: u64) -> Self {
        Self { memory, ..self.clone() }
    }

    /// Seconds before its end at which an allocation is warned.
    fn signal(&self) -> u64 {
        self.settings.signal.unwrap_or_else(|| DEFAULT_SIGNAL.min(self.time / 4)).max(1)
    }

    /// Options of `sbatch` that say what an allocation has.
    fn options(&self) -> Vec<String> {
        let Settings { partition, account, qos, constraint, options, .. } = &self.settings;
        let named = [
            ("partition", partition),
            ("account", account),
            ("qos", qos),
            ("constraint", constraint),
            ("gres", &self.gres),
        ];
        let named = named.iter().filter_map(|(key, value)| Some(format!("--{key}={}", value.as_ref()?)));
        let mut all: Vec<String> = named.collect();
        all.extend([
            "--nodes=1".into(),
            "--ntasks=1".into(),
            format!("--cpus-per-task={}", self.cpus),
            format!("--mem={}M", self.memory),
            format!("--time={}", clock(self.time)),
        ]);
        all.extend(options.iter().cloned());
        all
    }
}

/// As in `partition gpu, gpu:1, 4 CPUs, 2048 MiB, at most 1:00:00`.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { partition, account, qos, constraint, options, .. } = &self.settings;
        for (word, value) in
            [("partition ", partition), ("account ", account), ("QOS ", qos), ("", constraint)]
        {
            value.iter().try_for_each(|value| write!(f, "{word}{value}, "))?;
        }
        self.gres.iter().try_for_each(|gres| write!(f, "{gres}, "))?;
        let Self { cpus, memory, .. } = self;
        let plural = if *cpus == 1 { "" } else { "s" };
        write!(f, "{cpus} CPU{plural}, {memory} MiB, at most {}", clock(self.time))?;
        options.iter().try_for_each(|option| write!(f, ", {option}"))
    }
}

/// Memory in mebibytes for stages with this peak in bytes, with half as much to spare.
fn enough(peak: u64, at_once: usize) -> u64 {
    const STEP: u64 = 256;
    let stages = (peak >> 20).saturating_mul(at_once as u64);
    (stages + stages / 2 + 512).div_ceil(STEP) * STEP
}

/// Time limit in seconds if the longest stage takes this long: full ten minutes.
fn limit(longest: f64) -> u64 {
    const STEP: u64 = 600;
    // The cast saturates.
    DEFAULT_TIME.max(((longest * 2.0) as u64).div_ceil(STEP).saturating_mul(STEP))
}

/// The number of GPUs in `gpu:2`, `gpu:a100:2`, `gpu`.
fn gpus(gres: &str) -> usize {
    let gpu = gres.split(',').find(|one| one.split([':', '(']).next() == Some("gpu")).unwrap_or_default();
    let count = gpu.split('(').next().and_then(|gpu| gpu.rsplit(':').next()?.parse().ok());
    count.unwrap_or(1).max(1)
}

/// `D-HH:MM:SS` or `H:MM:SS`.
fn clock(seconds: u64) -> String {
    let (days, hours, minutes, rest) =
        (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match days {
        0 => format!("{hours}:{minutes:02}:{rest:02}"),
        _ => format!("{days}-{hours:02}:{minutes:02}:{rest:02}"),
    }
}

/// Names and paths for a batch script.
pub(super) struct Place<'a> {
    /// The name of the run's jobs.
    pub(super) name: &'a str,
    /// Tells the jobs of this submission from others.
    pub(super) token: &'a str,
    /// The folder of orders.
    pub(super) desk: &'a Path,
    /// The store.
    pub(super) store: &'a Path,
    /// How to start workers.
    pub(super) workers: &'a Workers,
}

/// The batch script of an allocation. The shell passes Slurm's warning on, and sends the job back to the queue if it
/// was stopped before it had finished: with `B:`, only the shell gets the signal.
pub(super) fn script(request: &Request, place: &Place<'_>) -> String {
    let Place { name, token, desk, .. } = place;
    let mut text = String::from("#!/bin/bash\n");
    // Slurm takes `%` for the start of a number's name.
    let logs = desk.join("logs").to_string_lossy().replace('%', "%%");
    let output = format!("{logs}/%A_%a.log");
    let own = [
        format!("--job-name={name}"),
        format!("--comment={token}"),
        format!("--output={}", shell(&output)),
        "--open-mode=append".into(),
        "--requeue".into(),
        format!("--signal=B:USR1@{}", request.signal()),
    ];
    for option in own.into_iter().chain(request.options()) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "#SBATCH {option}");
    }
    let setup = request.settings.setup.iter().map(|command| format!("{command}\n")).collect::<String>();
    text + "\n" + &setup + &body(request, place)
}

fn body(request: &Request, place: &Place<'_>) -> String {
    let command = command(request, place);
    format!(
        "
warned=
worker=
stop() {{ if [ -n \"$worker\" ]; then kill -TERM \"$worker\" 2>/dev/null; else exit 130; fi; }}
trap 'warned=1; stop' USR1
trap stop TERM
{command} &
worker=$!
wait \"$worker\"
while kill -0 \"$worker\" 2>/dev/null; do wait \"$worker\"; done
wait \"$worker\"
code=$?
if [ -n \"$warned\" ] && [ \"$code\" = 130 ] && [ \"${{SLURM_RESTART_COUNT:-0}}\" -lt {MAX_RESTARTS} ]; then
    scontrol requeue \"${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}\" && sleep 60
fi
exit \"$code\"
"
    )
}

/// The command of an allocation's worker.
fn command(request: &Request, place: &Place<'_>) -> String {
    let Place { desk, store, workers, .. } = place;
    let on_gpu = workers.devices.iter().any(|device| matches!(device, WorkerDevice::Cuda(_)));
    let (device, at_once) = (if on_gpu { "cuda" } else { "cpu" }, request.workers.to_string());
    let idle = request.settings.idle.unwrap_or(DEFAULT_IDLE).to_string();
    // `/proc/self/exe` is another program on another computer.
    let program = std::fs::canonicalize(&workers.program).unwrap_or_else(|_| workers.program.clone());
    let paths = [program.as_path(), *store, *desk].map(|path| path.to_string_lossy().into_owned());
    let [program, store, desk] = &paths;
    let mut words = vec![program, "worker", "--store", store, "--desk", desk, "--device", device];
    words.extend(workers.arguments.iter().map(String::as_str));
    words.extend(["--slots", &at_once, "--idle", &idle]);
    words.iter().map(|word| shell(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Need;

    fn workers(devices: Vec<WorkerDevice>) -> Workers {
        Workers {
            program: "/opt/my tools/medmerge".into(),
            arguments: vec!["--precision".into(), "f32".into()],
            devices,
        }
    }

    fn job(seconds: f64, memory: u64) -> Job {
        Job { id: "a".into(), kind: "merge", seconds, need: Need { memory, ..Need::default() } }
    }

    #[test]
    fn the_script_says_everything() {
        let settings = Settings {
            partition: Some("gpu".into()),
            options: vec!["--exclude=node7".into()],
            setup: vec!["module load cuda".into()],
            time: Some("60".into()),
            ..Settings::default()
        };
        let workers = workers(vec![WorkerDevice::Cuda("0".into())]);
        let request = Request::new(&settings, &[job(10.0, 1 << 30)], &workers);
        let (desk, store) = (Path::new("/data/store/slurm/tiny"), Path::new("/data/store"));
        let place = Place { name: "medmerge-tiny", token: "t1", desk, store, workers: &workers };
        insta::assert_snapshot!(script(&request, &place));
        insta::assert_snapshot!(request.to_string(), @"partition gpu, gpu:1, 4 CPUs, 2048 MiB, at most 1:00:00, --exclude=node7");
    }

    #[test]
    fn what_settings_leave_open_follows_from_estimates() {
        let request =
            Request::new(&Settings::default(), &[job(9000.0, 3 << 30)], &workers(vec![WorkerDevice::Cpu]));
        assert_eq!((request.memory, request.time, request.workers, request.gres), (5120, 18_000, 1, None));
    }

    #[test]
    fn gpus_are_counted() {
        assert_eq!(
            ["gpu", "gpu:2", "gpu:a100:4", "shard:1,gpu:3(S:0-1)", "gpu:a100", "tmp:9"].map(gpus),
            [1, 2, 4, 3, 1, 1]
        );
    }

    #[test]
    fn times_are_written_as_slurm_reads_them() {
        for seconds in [60, 3599, 3600, 86_399, 86_400, 200_000] {
            assert_eq!(super::seconds(&clock(seconds)), Some(seconds));
        }
    }
}
