//! Images per second in training and evaluation, one JSON line a case:
//!
//!     cargo bench --bench throughput -- [--steps 6] [--device cuda] [--precision bf16] [--graphs] \
//!         [arch:stem[:width]:size:batch ...]
//!
//! The cases and the work of a step are those of the PyTorch program that `compare.py` runs beside it: random
//! images, AdamW, cross entropy over 7 classes; the median of the steps after two that do not count. On a GPU, the
//! median of five runs of steps between two synchronizations; with `--graphs` they are replayed as CUDA graphs. Threads:
//! RAYON_NUM_THREADS. The allocator is the program's.

use candle_core::{DType, Device};
use medmerge::allocator;
use medmerge::backbone::BackboneSpec;
use medmerge::doctor::{Replayed, Workload};
use medmerge::identity::Precision;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // SAFETY: nothing has started a thread yet.
    unsafe { nn::set_up_process() };
    allocator::keep_memory();
    let mut steps = 6;
    let mut device = Device::Cpu;
    let mut precision = "f32".to_owned();
    let mut graphs = false;
    let mut cases = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--steps" => steps = args.next().and_then(|n| n.parse().ok()).expect("--steps NUMBER"),
            "--device" => device = open(&args.next().expect("--device cpu|cuda")),
            "--precision" => precision = args.next().expect("--precision f32|tf32|bf16"),
            "--graphs" => graphs = true,
            // What cargo adds of itself.
            "--bench" => {}
            _ => cases.push(arg),
        }
    }
    if cases.is_empty() {
        cases.push("resnet18:small:28:64".into());
        cases.push("resnet18:standard:64:64".into());
    }
    nn::set_precision(named(&precision));
    for case in cases {
        // Rayon's threads wait asleep between operators, as they do in a stage.
        rayon::scope(|_| run(&case, steps, &device, &precision, graphs));
    }
}

fn open(device: &str) -> Device {
    match device {
        "cpu" => Device::Cpu,
        "cuda" => nn::cuda::open(0).expect("a GPU, and a build for it"),
        _ => panic!("--device cpu|cuda, got {device}"),
    }
}

fn named(precision: &str) -> Precision {
    match precision {
        "f32" => Precision::F32,
        "tf32" => Precision::Tf32,
        "bf16" => Precision::Bf16,
        _ => panic!("--precision f32|tf32|bf16, got {precision}"),
    }
}

fn run(case: &str, steps: usize, device: &Device, precision: &str, graphs: bool) {
    let (arch, stem, width, size, batch) = match case.split(':').collect::<Vec<_>>()[..] {
        [arch, stem, size, batch] => (arch, stem, "64", size, batch),
        [arch, stem, width, size, batch] => (arch, stem, width, size, batch),
        _ => panic!("a case is arch:stem:size:batch or arch:stem:width:size:batch, got {case}"),
    };
    let (size, batch): (usize, usize) = (size.parse().expect("a size"), batch.parse().expect("a batch"));
    let kind = arch.strip_suffix("_patch16_224").unwrap_or(arch);
    let has_stems = kind.starts_with("resnet");
    let options = if has_stems {
        serde_json::json!({ "stem": stem, "width": width.parse::<usize>().expect("a width") })
    } else {
        serde_json::json!({})
    };
    let spec: BackboneSpec =
        serde_json::from_value(serde_json::json!({ kind: options })).expect("a backbone");
    let workload = Workload::new(&spec, size, batch, DType::F32, device).expect("a workload");
    let (calls, each) = if device.is_cuda() { (5, steps) } else { (steps, 1) };
    let [train, evaluate] =
        if graphs { seconds_replayed(workload, calls, each) } else { seconds(workload, calls, each) };
    let images = (batch * each) as f64;
    println!(
        "{}",
        serde_json::json!({
            "case": case,
            "device": if device.is_cuda() { "cuda" } else { "cpu" },
            "precision": precision,
            "graphs": graphs,
            "threads": rayon::current_num_threads(),
            "train_images_per_s": round(images / train),
            "eval_images_per_s": round(images / evaluate),
            "peak_mib": peak_memory().map(|bytes| round(bytes / f64::from(1 << 20))),
        })
    );
}

/// Seconds of `each` training steps and of as many evaluations.
fn seconds(mut workload: Workload, calls: usize, each: usize) -> [f64; 2] {
    let train = workload.seconds(calls, |workload| (0..each).try_for_each(|_| workload.train()));
    let evaluate =
        workload.seconds(calls, |workload| (0..each).try_for_each(|_| workload.evaluate().map(drop)));
    [train.expect("a step"), evaluate.expect("logits")]
}

/// The same of a workload that is replayed.
fn seconds_replayed(workload: Workload, calls: usize, each: usize) -> [f64; 2] {
    let mut workload = Replayed::new(workload).expect("graphs of a workload");
    let train = workload.seconds(calls, |workload| (0..each).try_for_each(|_| workload.train()));
    let evaluate =
        workload.seconds(calls, |workload| (0..each).try_for_each(|_| workload.evaluate().map(drop)));
    [train.expect("a step"), evaluate.expect("logits")]
}

/// The largest amount of memory that the process held, in bytes.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? * 1024.0)
}

fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
