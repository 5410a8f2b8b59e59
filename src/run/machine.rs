//! What this machine has.

use std::process::Command;

/// Bytes of memory that are free, and that there are; `None` if the system does not tell. Within a container
/// with a limit of its own, that limit counts.
pub fn memory() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let bytes = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    };
    let (free, total) = (bytes("MemAvailable:")?, bytes("MemTotal:")?);
    Some(limit().map_or((free, total), |(used, most)| (free.min(most.saturating_sub(used)), total.min(most))))
}

/// Bytes that a control group uses, and may use, by either version of the system's files.
fn limit() -> Option<(u64, u64)> {
    const FILES: [[&str; 2]; 2] =
        [["memory.current", "memory.max"], ["memory/memory.usage_in_bytes", "memory/memory.limit_in_bytes"]];
    let read =
        |name: &str| std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse().ok();
    FILES.iter().find_map(|[used, most]| Some((read(used)?, read(most)?)))
}

/// Bytes of memory that are free on the GPU that `CUDA_VISIBLE_DEVICES` calls so; `None` if its driver's tool does
/// not tell. This process takes none of them by asking.
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
    fn there_is_some_memory() {
        let (free, total) = memory().unwrap();
        assert!(free <= total && total > 1 << 20);
    }

    #[test]
    fn what_the_drivers_tool_says_is_read_or_left() {
        assert_eq!(mebibytes("80000\n"), Some(80_000 << 20));
        assert_eq!(mebibytes("[N/A]\n"), None);
        assert_eq!(mebibytes("No devices were found\n"), None);
    }
}
