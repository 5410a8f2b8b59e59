//! `medmerge doctor`.

use std::io::{Write, stdout};

use candle_core::{DType, Device};
use clap::Args;

use super::device::OnDevice;
use super::version::{features, vectors};
use super::{Error, Exit};
use crate::backbone::BackboneSpec;
use crate::backbone::resnet::{ResnetSpec, Stem};
use crate::doctor::{Finding, Tolerance, Workload, examine, examine_replays};
use crate::run::machine;

/// Check whether this machine computes correctly, and how fast
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
    /// Check whether training steps that are replayed as CUDA graphs give the same bits
    #[arg(long)]
    graphs: bool,
}

impl Doctor {
    pub(super) fn execute(&self) -> Result<Exit, Error> {
        if self.graphs && !self.on.is_gpu() {
            return Err(Error::Usage("there are graphs on GPUs only; add --device cuda".into()));
        }
        let device = self.on.open()?;
        let out = &mut stdout().lock();
        writeln!(out, "medmerge {}, built with: {}", env!("CARGO_PKG_VERSION"), features())?;
        writeln!(out, "device: {}", describe(&device))?;
        let tolerance = self.on.tolerance();
        // In the thread pool, as kernels run in stages.
        let findings = rayon::scope(|_| examine(&device)).map_err(failed)?;
        let Tolerance { logits, gradients } = tolerance;
        writeln!(out, "relative errors (tolerance {logits:.0e} for logits, {gradients:.0e} for gradients):")?;
        for Finding { what, logits, gradients, repeats } in &findings {
            let bits = if *repeats { "reproducible" } else { "NOT REPRODUCIBLE" };
            writeln!(out, "  {what}: logits {logits:.1e}, gradients {gradients:.1e}, {bits}")?;
        }
        let are_same = !self.graphs || replays(&device, out)?;
        writeln!(out, "throughput: {}", rayon::scope(|_| throughput(&device)).map_err(failed)?)?;
        writeln!(out, "memory: {}", memory(&device))?;
        let good = are_same && findings.iter().all(|finding| finding.is_good(tolerance));
        writeln!(out, "{}", verdict(good))?;
        Ok(if good { Exit::Done } else { Exit::StageFailed })
    }
}

/// Say whether replayed steps give the same bits; returns whether all do.
fn replays(device: &Device, out: &mut impl Write) -> Result<bool, Error> {
    let findings = rayon::scope(|_| examine_replays(device)).map_err(failed)?;
    writeln!(out, "steps replayed as graphs:")?;
    for (what, is_same) in &findings {
        writeln!(out, "  {what}: {}", if *is_same { "same bits" } else { "DIFFERENT BITS" })?;
    }
    Ok(findings.iter().all(|(_, is_same)| *is_same))
}

fn verdict(good: bool) -> &'static str {
    if good {
        "This device can be trusted: its training steps are within tolerance and reproducible."
    } else {
        "Do NOT trust this device: its training steps did not meet the tolerance. Run with --device cpu, and \
         report the lines above."
    }
}

/// Training steps of ResNet-18 at 28 pixels, in batches of 64.
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

fn describe(device: &Device) -> String {
    #[cfg(feature = "cuda")]
    if let Ok(gpu) = device.as_cuda_device() {
        let name = gpu.cuda_stream().context().name();
        return name.unwrap_or_else(|error| format!("a GPU with an unknown name: {error}"));
    }
    match device {
        Device::Cpu => format!("cpu, {} threads, {}", rayon::current_num_threads(), vectors()),
        other => format!("{:?}", other.location()),
    }
}

/// Free and total memory.
fn memory(device: &Device) -> String {
    const GIB: f64 = (1u64 << 30) as f64;
    #[cfg(feature = "cuda")]
    if let Ok(gpu) = device.as_cuda_device() {
        return match gpu.cuda_stream().context().mem_get_info() {
            Ok((free, total)) => format!("{:.1} of {:.1} GiB free", free as f64 / GIB, total as f64 / GIB),
            Err(error) => format!("unknown: {error}"),
        };
    }
    match machine::memory().filter(|_| device.is_cpu()) {
        Some((free, total)) => format!("{:.1} of {:.1} GiB free", free as f64 / GIB, total as f64 / GIB),
        None => "unknown".into(),
    }
}

fn failed(error: candle_core::Error) -> Error {
    Error::Device(format!("the device failed: {error}"))
}
