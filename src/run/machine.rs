//! Memory of this machine.

use std::process::Command;

/// Free and total memory in bytes, within the limit of the container if there is one; `None` if unknown.
pub fn memory() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let bytes = |key: &str| kibibytes(&text, key).map(|number| number * 1024);
    let (free, total) = (bytes("MemAvailable:")?, bytes("MemTotal:")?);
    Some(
        limit()
            .map_or((free, total), |(used, limit)| (free.min(limit.saturating_sub(used)), total.min(limit))),
    )
}

/// The largest memory that this process has at one time, from a start on.
#[derive(Debug)]
pub struct PeakMemory {
    /// Whether the system's own measure could be set back to what is in use now.
    started: bool,
}

impl PeakMemory {
    /// Start measuring; Linux forgets earlier peaks when asked (`man 5 proc`, `clear_refs`).
    pub fn start() -> Self {
        Self { started: std::fs::write("/proc/self/clear_refs", "5").is_ok() }
    }

    /// The peak in bytes since the start; `None` where the system does not tell.
    pub fn bytes(&self) -> Option<u64> {
        let status = self.started.then(|| std::fs::read_to_string("/proc/self/status").ok())??;
        kibibytes(&status, "VmHWM:").map(|number| number * 1024)
    }
}

/// Memory of this process in bytes, without mapped files; `None` if unknown.
pub fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    kibibytes(&status, "RssAnon:").map(|number| number * 1024)
}

/// The number in a line `<key> <number> kB`.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

/// Memory used and allowed in this control group in bytes, from version 2 or 1 of its files.
fn limit() -> Option<(u64, u64)> {
    const FILES: [[&str; 2]; 2] =
        [["memory.current", "memory.max"], ["memory/memory.usage_in_bytes", "memory/memory.limit_in_bytes"]];
    let read =
        |name: &str| std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse().ok();
    FILES.iter().find_map(|[used, limit]| Some((read(used)?, read(limit)?)))
}

/// Free memory in bytes of a GPU, named as in `CUDA_VISIBLE_DEVICES`; `None` if `nvidia-smi` does not report it.
/// Asking the tool allocates no GPU memory in this process.
pub fn gpu_memory(name: &str) -> Option<u64> {
    let query = ["--query-gpu=memory.free", "--format=csv,noheader,nounits", "--id", name];
    let output = Command::new("nvidia-smi").args(query).output().ok()?;
    mebibytes(&String::from_utf8_lossy(&output.stdout))
}

fn mebibytes(text: &str) -> Option<u64> {
    text.trim().parse::<u64>().ok()?.checked_mul(1 << 20)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_memory() {
        let (free, total) = memory().unwrap();
        assert!(free <= total && total > 1 << 20);
    }

    /// Runs in a process of its own, since the peak is that of all tests of a process.
    #[test]
    fn a_peak_is_at_least_what_was_in_use_and_an_earlier_one_is_forgotten() {
        const NAME: &str =
            "machine::tests::a_peak_is_at_least_what_was_in_use_and_an_earlier_one_is_forgotten";
        const BYTES: u64 = 64 << 20;
        const ALONE: &str = "MEDMERGE_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let mut alone = Command::new(std::env::current_exe().unwrap());
            let output = alone.args(["--exact", NAME]).env(ALONE, "1").output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
            return;
        }
        let use_memory = || std::hint::black_box(vec![1u8; BYTES as usize]).len();
        let peak = PeakMemory::start();
        let before = peak.bytes().unwrap();
        use_memory();
        let during = peak.bytes().unwrap();
        assert!(during >= before + BYTES / 2, "{before} {during}");
        let after = PeakMemory::start().bytes().unwrap();
        assert!(after < during, "{during} {after}");
    }

    #[test]
    fn output_of_nvidia_smi_is_parsed_or_ignored() {
        assert_eq!(mebibytes("80000\n"), Some(80_000 << 20));
        assert_eq!(mebibytes("[N/A]\n"), None);
        assert_eq!(mebibytes("No devices were found\n"), None);
    }
}
