//! Images per second in training and evaluation, one JSON line a case:
//!
//!     cargo bench --bench throughput -- [--steps 6] [arch:stem:size:batch ...]
//!
//! The cases and the work of a step are those of the PyTorch program that `compare.py` runs beside it: random
//! images, AdamW, cross entropy over 7 classes, f32; the median of the steps after two that do not count.
//! Threads: RAYON_NUM_THREADS.

use candle_core::{DType, Device};
use medmerge::backbone::BackboneSpec;
use medmerge::doctor::Workload;

fn main() {
    // SAFETY: nothing has started a thread yet.
    unsafe { nn::set_up_process() };
    let mut steps = 6;
    let mut cases = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--steps" => steps = args.next().and_then(|n| n.parse().ok()).expect("--steps NUMBER"),
            // What cargo adds of itself.
            "--bench" => {}
            _ => cases.push(arg),
        }
    }
    if cases.is_empty() {
        cases.push("resnet18:small:28:64".into());
        cases.push("resnet18:standard:64:64".into());
    }
    for case in cases {
        // Rayon's threads wait asleep between operators, as they do in a stage.
        rayon::scope(|_| run(&case, steps));
    }
}

fn run(case: &str, steps: usize) {
    let [arch, stem, size, batch] = case.split(':').collect::<Vec<_>>()[..] else {
        panic!("a case is arch:stem:size:batch, got {case}")
    };
    let (size, batch): (usize, usize) = (size.parse().expect("a size"), batch.parse().expect("a batch"));
    let kind = arch.strip_suffix("_patch16_224").unwrap_or(arch);
    let has_stems = kind.starts_with("resnet");
    let options = if has_stems { serde_json::json!({ "stem": stem }) } else { serde_json::json!({}) };
    let spec: BackboneSpec =
        serde_json::from_value(serde_json::json!({ kind: options })).expect("a backbone");
    let mut workload = Workload::new(&spec, size, batch, DType::F32, &Device::Cpu).expect("a workload");
    let train = workload.seconds(steps, |workload| workload.train()).expect("a step");
    let evaluate = workload.seconds(steps, |workload| workload.evaluate().map(drop)).expect("logits");
    println!(
        "{}",
        serde_json::json!({
            "case": case,
            "threads": rayon::current_num_threads(),
            "train_images_per_s": round(batch as f64 / train),
            "eval_images_per_s": round(batch as f64 / evaluate),
            "peak_mib": peak_memory().map(|bytes| round(bytes / f64::from(1 << 20))),
        })
    );
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
