//! What `medmerge --version` says: the version, the commit, and what this build and this processor can do.

use std::env::consts::{ARCH, OS};
use std::sync::OnceLock;

/// The version and how the program was built.
pub(super) fn long() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| format!("{}\n{}", env!("CARGO_PKG_VERSION"), build()))
}

/// Everything below the version: lines of a name and a value.
pub(super) fn build() -> String {
    let lines = [
        ("commit", commit().to_owned()),
        ("target", target()),
        ("features", features()),
        ("processor", processor()),
    ];
    lines.map(|(name, value)| format!("{name}: {value}")).join("\n")
}

/// The commit that packages are built from.
pub(super) fn commit() -> &'static str {
    option_env!("MEDMERGE_COMMIT").unwrap_or("not recorded (a build of your own)")
}

fn target() -> String {
    let libc = match () {
        () if cfg!(target_env = "musl") => ", musl",
        () if cfg!(target_env = "gnu") => ", glibc",
        () => "",
    };
    let linked = if cfg!(target_feature = "crt-static") { ", static" } else { "" };
    format!("{ARCH} {OS}{libc}{linked}")
}

/// Optional features of this build.
pub(super) fn features() -> String {
    let known = [
        ("cuda", cfg!(feature = "cuda")),
        ("natural-images", cfg!(feature = "natural-images")),
        ("pdf", cfg!(feature = "pdf")),
    ];
    let built: Vec<_> = known.iter().filter(|(_, built)| *built).map(|(name, _)| *name).collect();
    if built.is_empty() { "no optional features".into() } else { built.join(", ") }
}

/// The instructions of this processor that kernels use.
fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        let known = [
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
        ];
        let used: Vec<_> = known.iter().filter(|(_, found)| *found).map(|(name, _)| *name).collect();
        if !used.is_empty() {
            return format!("{}, {}", vectors(), used.join(" "));
        }
    }
    vectors().to_owned()
}

/// The widest vectors that kernels are compiled for on this processor.
pub(super) fn vectors() -> &'static str {
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
