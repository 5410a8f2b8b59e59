//! What a run adds to its stages: seconds, processor time and time a stage, one JSON line a case:
//!
//!     cargo bench --bench run -- [--binary PATH] [STAGES ...]
//!
//! Two tiny imported models, and so many averages of them with other shares: stages that do next to nothing. They run
//! one after the other (`--jobs 1`), so that the time from the start of a stage to its end is what it takes alone: an
//! order, the inputs read and verified, the result written and flushed. `head` is the process that the person
//! starts, without its workers. The store lies in the folder for temporary files: with TMPDIR=/dev/shm, a flush
//! takes no time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use candle_core::Device;
use medmerge::backbone::BackboneSpec;
use medmerge::store::checkpoint;
use serde_json::{Value, json};

/// Of the models.
const BACKBONE: &str = "resnet18 = { stem = \"small\", width = 1 }";

fn main() {
    let mut binary = PathBuf::from(env!("CARGO_BIN_EXE_medmerge"));
    let mut counts = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--binary" => binary = args.next().expect("--binary PATH").into(),
            // What cargo adds of itself.
            "--bench" => {}
            _ => counts.push(arg.parse().expect("a number of stages")),
        }
    }
    if counts.is_empty() {
        counts = vec![100, 10_000];
    }
    counts.into_iter().for_each(|stages| measure(stages, &binary));
}

fn measure(stages: usize, binary: &Path) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    for seed in [1, 2] {
        save_model(seed, &folder.path().join(format!("{seed}.safetensors")));
    }
    std::fs::write(folder.path().join("experiment.toml"), experiment(stages)).expect("a disk with space");
    let (seconds, head) = run(binary, folder.path());
    let mut overheads = overheads(&folder.path().join("store"));
    let tenth = overheads.len().div_ceil(10);
    let [first, last] = [&overheads[..tenth], &overheads[overheads.len() - tenth..]].map(mean);
    overheads.sort_by(f64::total_cmp);
    let at = |share: f64| overheads[((overheads.len() - 1) as f64 * share) as usize] * 1e3;
    let line = json!({
        "stages": stages + 2,
        "seconds": round(seconds),
        "head_cpu_seconds": round(head),
        "mean_ms_of_first_and_last_tenth": [round(first * 1e3), round(last * 1e3)],
        "stage_ms": { "median": round(at(0.5)), "p95": round(at(0.95)), "max": round(at(1.0)) },
    });
    println!("{line}");
}

fn experiment(stages: usize) -> String {
    let shares: Vec<String> = (1..=stages).map(|share| format!("{share}.0")).collect();
    let import = |name: &str, seed: u64| {
        format!("\n[stage.{name}.import]\npath = \"{seed}.safetensors\"\nbackbone.{BACKBONE}\n")
    };
    format!(
        "[experiment]\nname = \"many\"\n\n[sweep]\nshare = [{}]\n{}{}\n[stage.merged.merge]\nsources = [\"a\", \"b\"]\n\
         method.average = {{ weights = [\"${{share}}\", 1.0] }}\nbatch_norm = \"merged\"\n",
        shares.join(", "),
        import("a", 1),
        import("b", 2),
    )
}

fn save_model(seed: u64, path: &Path) {
    let spec: BackboneSpec =
        serde_json::from_value(json!({ "resnet18": { "stem": "small", "width": 1 } })).expect("a backbone");
    let parameters = spec.build().all_parameters(None).into_iter();
    let tensors = parameters.map(|parameter| {
        let tensor = parameter.initial(seed, &Device::Cpu).expect("memory");
        (parameter.name, tensor)
    });
    checkpoint::save(&tensors.collect(), HashMap::new(), path).expect("a disk with space");
}

/// Seconds that a run takes, and seconds of the processor that its head takes.
fn run(binary: &Path, folder: &Path) -> (f64, f64) {
    let start = Instant::now();
    let mut command = Command::new(binary);
    command.args(["run", "experiment.toml", "--store", "store", "--jobs", "1", "--log-format", "plain"]);
    let mut child =
        command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program");
    let mut processor = 0.0;
    loop {
        processor = processor_time(child.id()).unwrap_or(processor);
        if let Some(status) = child.try_wait().expect("a child") {
            assert!(status.success(), "the run failed");
            return (start.elapsed().as_secs_f64(), processor);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Seconds that the processor spent on a process without those that it started; `None` once it has ended.
fn processor_time(process: u32) -> Option<f64> {
    /// Of a second, on every Linux that this runs on.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    // A process that ended and was not waited for has no memory; its times stay.
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

/// Seconds from the start of each stage to its end, by the run's record.
fn overheads(store: &Path) -> Vec<f64> {
    let runs = std::fs::read_dir(store.join("runs")).expect("a record");
    let run = runs.map(|run| run.expect("a record").path()).next().expect("a run");
    let events = std::fs::read_to_string(run.join("events.jsonl")).expect("events");
    let mut started = HashMap::new();
    let mut overheads = Vec::new();
    for line in events.lines() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let (at, stage) =
            (event["at"].as_f64().expect("a time"), event["stage"].as_str().unwrap_or_default());
        match event["event"].as_str() {
            Some("stage_started") => {
                started.insert(stage.to_owned(), at);
            }
            Some("stage_finished") => overheads.extend(started.get(stage).map(|start| at - start)),
            _ => {}
        }
    }
    overheads
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

fn round(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
