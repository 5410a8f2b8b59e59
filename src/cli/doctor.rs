//! `medmerge doctor`.

use std::process::Command;

use candle_core::{DType, Device};
use clap::Args;

use super::device::OnDevice;
use super::{Error, Exit};
use crate::backbone::BackboneSpec;
use crate::backbone::resnet::{ResnetSpec, Stem};
use crate::doctor::{Finding, Tolerance, Workload, examine};

/// Say whether this machine computes as it should, and how fast
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge doctor
  medmerge doctor --device cuda:1
  medmerge doctor --device cuda --precision tf32

Takes training steps of small networks on the device and holds logits and gradients against the same steps in f64 on
the processor. Exit code 1 if the device cannot be trusted.")]
pub(super) struct Doctor {
    #[command(flatten)]
    on: OnDevice,
}

impl Doctor {
    pub(super) fn execute(&self) -> Result<Exit, Error> {
        let device = self.on.open()?;
        println!("medmerge {}, built with: {}", env!("CARGO_PKG_VERSION"), features());
        println!("device: {}", self.describe(&device));
        let tolerance = self.on.tolerance();
        // Kernels compute in the pool's threads, as in a stage.
        let findings = rayon::scope(|_| examine(&device)).map_err(failed)?;
        let Tolerance { logits, gradients } = tolerance;
        println!(
            "off by, relative to exact results (at most {logits:.0e} for logits, {gradients:.0e} for gradients):"
        );
        for Finding { what, logits, gradients, repeats } in &findings {
            let bits = if *repeats { "the same bits again" } else { "OTHER BITS AGAIN" };
            println!("  {what}: logits {logits:.1e}, gradients {gradients:.1e}, {bits}");
        }
        println!("throughput: {}", rayon::scope(|_| throughput(&device)).map_err(failed)?);
        println!("memory: {}", self.memory());
        let good = findings.iter().all(|finding| finding.is_good(tolerance));
        println!("{}", verdict(good));
        Ok(if good { Exit::Done } else { Exit::StageFailed })
    }

    fn describe(&self, device: &Device) -> String {
        match self.on.gpu() {
            None => format!("cpu, {} threads, {}", rayon::current_num_threads(), vectors()),
            Some(gpu) => query(gpu, "name").unwrap_or_else(|| format!("{:?}", device.location())),
        }
    }

    /// What is free, and what there is.
    fn memory(&self) -> String {
        let found = match self.on.gpu() {
            None => host_memory(),
            Some(gpu) => query(gpu, "memory.free,memory.total").map(|line| format!("{line} (free, total)")),
        };
        found.unwrap_or_else(|| "unknown".into())
    }
}

fn verdict(good: bool) -> &'static str {
    if good {
        "This device can be trusted: it computes training steps as they should be, and the same way every time."
    } else {
        "Do NOT trust this device: its training steps differ from what they should be. Run with --device cpu, and \
         report the lines above."
    }
}

fn features() -> String {
    let known = [
        ("cuda", cfg!(feature = "cuda")),
        ("cudnn", cfg!(feature = "cudnn")),
        ("natural-images", cfg!(feature = "natural-images")),
    ];
    let built: Vec<_> = known.iter().filter(|(_, built)| *built).map(|(name, _)| *name).collect();
    if built.is_empty() { "no optional features".into() } else { built.join(", ") }
}

/// The widest vectors that kernels are compiled for on this processor.
fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if is_x86_feature_detected!("avx2") {
            return "AVX2";
        }
    }
    "128-bit vectors"
}

/// A training step of ResNet-18 at 28 pixels, batches of 64.
fn throughput(device: &Device) -> candle_core::Result<String> {
    const BATCH: usize = 64;
    let spec = BackboneSpec::Resnet18(ResnetSpec { stem: Stem::Small, width: 64 });
    let mut workload = Workload::new(&spec, 28, BATCH, DType::F32, device)?;
    let train = workload.seconds(3, |workload| workload.train())?;
    let evaluate = workload.seconds(3, |workload| workload.evaluate().map(drop))?;
    let rate = |seconds: f64| BATCH as f64 / seconds;
    Ok(format!(
        "ResNet-18 at 28 px trains {:.0} images/s and evaluates {:.0} images/s",
        rate(train),
        rate(evaluate)
    ))
}

/// A line of `nvidia-smi` about a GPU.
fn query(gpu: usize, what: &str) -> Option<String> {
    let what = format!("--query-gpu={what}");
    let arguments = ["-i", &gpu.to_string(), &what, "--format=csv,noheader"];
    let output = Command::new("nvidia-smi").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(|line| line.trim().to_string())
}

fn host_memory() -> Option<String> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let gib = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib / f64::from(1 << 20))
    };
    Some(format!("{:.1} of {:.1} GiB free", gib("MemAvailable:")?, gib("MemTotal:")?))
}

fn failed(error: candle_core::Error) -> Error {
    Error::Device(format!("the device failed: {error}"))
}
