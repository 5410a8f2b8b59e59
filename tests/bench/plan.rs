//! Seconds and peak memory of planning, and of a run that finds everything made, one JSON line a case:
//!
//!     cargo bench --bench plan -- [--binary PATH] [STAGES ...]
//!
//! Two experiments: `sweep` has few sections and many seeds, `sections` has a section a stage. Each is planned
//! with an empty store, then every entry is put there, as tiny as it gets, and it is planned and run again, and
//! planned once more after `[train]` has changed, so that a reason is told for every stage. The program is
//! started as a person would start it; `--binary` measures another build. Seconds are the median of three. The
//! store lies in the folder for temporary files: with TMPDIR=/dev/shm, making the entries takes no time.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use candle_core::{Device, Tensor};
use medmerge::dataset::SplitName;
use medmerge::experiment::Experiment;
use medmerge::identity::{Fingerprint, Numerics};
use medmerge::plan::{Plan, PlannedStage};
use medmerge::stage::{Artifact, Checkpoint, Description, Evaluation, Prediction};
use medmerge::store::{EntryHeader, Store};
use rayon::prelude::*;

/// Stages of a chain: two fine-tuned models, their average, its scores.
const CHAIN: usize = 4;

/// What all chains share: a data set and two models.
const SHARED: &str = r#"
[dataset.cells.phantom]
family = "cells"
train = 8
val = 8
test = 8

[train]
epochs = 1
batch_size = 4

[stage.source_a.pretrain]
backbone.resnet18 = { stem = "small", width = 4 }
dataset = "cells"
seed = 1

[stage.source_b.pretrain]
backbone.resnet18 = { stem = "small", width = 4 }
dataset = "cells"
seed = 2
"#;

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
        counts = vec![1_000, 10_000];
    }
    for stages in counts {
        let chains = stages / CHAIN;
        measure("sweep", &sweep(chains), &binary);
        measure("sections", &sections(chains), &binary);
    }
}

/// One section for each stage of a chain, and a seed for each chain.
fn sweep(chains: usize) -> String {
    let seeds: Vec<String> = (0..chains).map(|seed| seed.to_string()).collect();
    let mut text =
        format!("[experiment]\nname = \"sweep\"\n\n[sweep]\nseed = [{}]\n{SHARED}", seeds.join(", "));
    text += &chain("", "");
    text + "\n[table.main]\nfrom = [\"scores\"]\nmetrics = [\"accuracy\"]\n"
}

/// A section for each stage of each chain.
fn sections(chains: usize) -> String {
    let mut text = format!("[experiment]\nname = \"sections\"\n{SHARED}");
    for seed in 0..chains {
        text += &chain(&format!("_{seed}"), &format!("seed = {seed}\n"));
    }
    let scores: Vec<String> = (0..chains).map(|seed| format!("\"scores_{seed}\"")).collect();
    text += &format!("\n[table.main]\nfrom = [{}]\n", scores.join(", "));
    text + "columns = [\"metric\"]\nmetrics = [\"accuracy\"]\n"
}

/// A chain whose stages have this ending to their names; `seed` is a line of those that train.
fn chain(end: &str, seed: &str) -> String {
    let mut text = String::new();
    for source in ["a", "b"] {
        write!(
            text,
            "\n[stage.tuned_{source}{end}.finetune]\nfrom = \"source_{source}\"\ndataset = \"cells\"\n{seed}"
        )
        .expect("a string takes all");
    }
    text + &format!(
        "\n[stage.merged{end}.merge]\nsources = [\"tuned_a{end}\", \"tuned_b{end}\"]\nmethod = \"average\"\n\
         batch_norm = \"merged\"\n\n[stage.scores{end}.evaluate]\nmodels = {{ \"merged{end}\" = \"merged{end}\" }}\n\
         datasets = [\"cells\"]\n"
    )
}

fn measure(name: &str, text: &str, binary: &Path) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let file = folder.path().join("experiment.toml");
    std::fs::write(&file, text).expect("a disk with space");
    let experiment = Arc::new(Experiment::load(&file).expect("a right experiment"));
    let stages = experiment.stages.len();
    let program = Program { name, stages, folder: folder.path(), binary };
    program.tell("plan", "nothing made");
    let store = Store::open(&folder.path().join("store")).expect("a store");
    make_up(&Plan::new(experiment, &store, Numerics::Cpu).expect("a plan"), &store);
    program.tell("plan", "all made");
    program.tell("run", "all made");
    std::fs::write(&file, text.replace("epochs = 1\n", "epochs = 2\n")).expect("a disk with space");
    program.tell("plan", "all changed");
}

/// Puts something into the store for every stage.
fn make_up(plan: &Plan, store: &Store) {
    let ids: Vec<_> = plan.stage_ids().collect();
    let made = ids.par_iter().map(|&node| {
        let stage = plan.stage(node);
        store.put(header(plan, stage), &artifact(plan, stage), "made up\n").expect("a disk with space");
        (stage.id.clone(), stage.fingerprint)
    });
    store.remember(&plan.experiment.name, &made.collect::<Vec<_>>()).expect("a disk with space");
}

fn header(plan: &Plan, stage: &PlannedStage) -> EntryHeader {
    let inputs = stage.inputs.iter();
    let datasets = stage.datasets.iter();
    EntryHeader {
        fingerprint: stage.fingerprint,
        kind: stage.spec.kind().into(),
        revision: stage.spec.revision(),
        fields: stage.fields.clone(),
        inputs: inputs.map(|(input, node)| (input.role.clone(), plan.stage(*node).fingerprint)).collect(),
        datasets: datasets.map(|(input, dataset)| (input.role.clone(), dataset.fingerprint)).collect(),
        dataset_names: Vec::new(),
        ancestry: plan.ancestry(stage),
        stage_ids: vec![stage.id.clone()],
        description: stage.description.clone(),
        started: SystemTime::now(),
        seconds: 0.0,
        peak_memory: None,
    }
}

fn artifact(plan: &Plan, stage: &PlannedStage) -> Artifact {
    match &stage.description {
        Description::Model(info) => Artifact::Model(Checkpoint {
            info: info.clone(),
            tensors: [("fc.bias".into(), Tensor::new(&[1f32], &Device::Cpu).expect("memory"))].into(),
            history: Vec::new(),
        }),
        Description::MergeWeights { .. } => unreachable!("no chain learns merge weights"),
        Description::Scores => {
            let models = stage.inputs.iter().map(|(_, node)| plan.stage(*node).fingerprint);
            Artifact::Evaluation(Evaluation {
                predictions: models.map(|model| guess(model, stage)).collect(),
            })
        }
    }
}

/// The same for every image.
fn guess(model: Fingerprint, stage: &PlannedStage) -> Prediction {
    let dataset = &stage.datasets[0].1;
    let counts = &dataset.summary.counts[SplitName::Test as usize];
    let labels: Vec<u32> = (0..).zip(counts).flat_map(|(label, &count)| vec![label; count]).collect();
    Prediction {
        model,
        dataset: dataset.fingerprint,
        images: (0..labels.len()).map(|i| format!("test/{i}")).collect(),
        probabilities: vec![vec![1.0 / counts.len() as f32; counts.len()]; labels.len()],
        labels: labels.into(),
    }
}

/// The program beside an experiment.
struct Program<'a> {
    name: &'a str,
    stages: usize,
    folder: &'a Path,
    binary: &'a Path,
}

impl Program<'_> {
    fn tell(&self, command: &str, store: &str) {
        let mut runs: Vec<(f64, f64)> = (0..3).map(|_| self.run(command)).collect();
        runs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let line = serde_json::json!({
            "experiment": self.name,
            "stages": self.stages,
            "command": command,
            "store": store,
            "seconds": (runs[1].0 * 1e3).round() / 1e3,
            "peak_mib": runs[1].1.round(),
        });
        println!("{line}");
    }

    /// Seconds and MiB.
    fn run(&self, command: &str) -> (f64, f64) {
        let start = Instant::now();
        let mut program = Command::new(self.binary);
        program.args([command, "experiment.toml", "--store", "store"]).current_dir(self.folder);
        let mut child = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program");
        let mut peak = 0.0;
        loop {
            peak = peak_memory(child.id()).unwrap_or(peak);
            if let Some(status) = child.try_wait().expect("a child") {
                assert!(status.success(), "{command} of {} failed", self.name);
                return (start.elapsed().as_secs_f64(), peak);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The largest amount of memory that a process held, in MiB; `None` once it has ended.
fn peak_memory(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}
