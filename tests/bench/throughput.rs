//! Images per second in training and evaluation, one JSON line a case:
//!
//!     cargo bench --bench throughput -- [--steps 6] [arch:stem:size:batch ...]
//!
//! The cases and the work of a step are those of the PyTorch program that `compare.py` runs beside it: random
//! images, AdamW, cross entropy over 7 classes, f32; the median of the steps after two that do not count.
//! Threads: RAYON_NUM_THREADS.

use std::time::Instant;

use candle_core::{Device, Tensor, Var};
use medmerge::backbone::BackboneSpec;
use medmerge::nn::init::initial_values;
use medmerge::nn::{Mode, Net, Value, gradients, leaves};
use medmerge::rng::{Purpose, rng};
use medmerge::train::LossSpec;
use medmerge::train::optimizer::{Optimizer, OptimizerSpec};
use rand::Rng;

const CLASSES: usize = 7;

fn main() {
    medmerge::nn::set_up_process();
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
        serde_json::from_value(serde_json::json!({ kind: options })).expect("a backbone's name");
    let backbone = spec.build();
    let mut tensors =
        initial_values(&backbone.all_parameters(Some(CLASSES)), 0, &Device::Cpu).expect("initial values");
    let variables: Vec<(String, Var)> = backbone
        .all_parameters(Some(CLASSES))
        .into_iter()
        .filter(|parameter| parameter.is_trainable())
        .map(|parameter| {
            let var = Var::from_tensor(&tensors[&parameter.name]).expect("a variable");
            tensors.insert(parameter.name.clone(), var.as_tensor().clone());
            (parameter.name, var)
        })
        .collect();
    let mut random = rng(0, Purpose::Init, 0, 0);
    let pixels: Vec<f32> = (0..batch * size * size * 3).map(|_| random.random_range(-1.0..1.0)).collect();
    let x = Tensor::from_vec(pixels, (batch, size, size, 3), &Device::Cpu).expect("images");
    let labels: Vec<u32> = (0..batch).map(|_| random.random_range(0..CLASSES as u32)).collect();
    let labels = Tensor::new(labels, &Device::Cpu).expect("labels");
    let rule: OptimizerSpec =
        serde_json::from_value(serde_json::json!({ "adamw": { "lr": 1e-3 } })).expect("a rule");
    let mut optimizer = Optimizer::new(&rule, variables.clone()).expect("an optimizer");

    let names: Vec<String> = variables.iter().map(|(name, _)| name.clone()).collect();
    let x = Value::constant(x);
    let loss = LossSpec::default().build(&[1; CLASSES], &Device::Cpu).expect("a loss");
    let train = median(steps, || {
        let leaves = leaves(&tensors, &names);
        let net = Net::with_values(&tensors, leaves.clone(), Mode::Train);
        let logits = backbone.logits(&net, &x, CLASSES).expect("logits");
        let (_, gradient) = loss.with_gradient(logits.tensor(), &labels).expect("a loss");
        let gradients = gradients(&logits, gradient, &leaves).expect("gradients");
        optimizer.step(&gradients, 1.0, None).expect("a step");
    });
    let eval = median(steps, || {
        backbone.logits(&Net::new(&tensors, Mode::Eval), &x, CLASSES).expect("logits");
    });
    println!(
        "{}",
        serde_json::json!({
            "case": case,
            "threads": rayon::current_num_threads(),
            "train_images_per_s": round(batch as f64 / train),
            "eval_images_per_s": round(batch as f64 / eval),
        })
    );
}

/// Median seconds of `steps` calls after two.
fn median(steps: usize, mut step: impl FnMut()) -> f64 {
    let mut seconds: Vec<f64> = (0..steps + 2)
        .map(|_| {
            let start = Instant::now();
            step();
            start.elapsed().as_secs_f64()
        })
        .skip(2)
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[steps / 2]
}

fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
