//! Compiles the kernels: with nvcc for GPUs, and with a C++ compiler for tests on the CPU.

use std::path::PathBuf;
use std::process::Command;

const KERNELS: &str = "cuda/kernels";

/// Ampere and Hopper as machine code, and what comes later from PTX.
const ARCHITECTURES: [&str; 2] = ["arch=compute_80,code=sm_80", "arch=compute_90,code=[sm_90,compute_90]"];

fn main() {
    println!("cargo::rerun-if-changed={KERNELS}");
    if std::env::var_os("CARGO_FEATURE_TESTING").is_some() {
        for_the_cpu();
    }
    if std::env::var_os("CARGO_FEATURE_CUDA").is_some() {
        for_gpus();
    }
}

fn for_the_cpu() {
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .flags(["-x", "c++"])
        .flag_if_supported("-Wno-unknown-pragmas")
        // the CPU's operators do not contract either
        .flag_if_supported("-ffp-contract=off")
        .file(format!("{KERNELS}/all.cu"))
        .compile("medmerge_kernels");
}

fn for_gpus() {
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR"));
    let mut nvcc = Command::new(nvcc());
    nvcc.args(["-std=c++17", "-O3", "--fatbin", "-Werror", "all-warnings"]);
    nvcc.args(ARCHITECTURES.iter().flat_map(|architecture| ["-gencode", architecture]));
    nvcc.arg(format!("{KERNELS}/all.cu")).arg("-o").arg(folder.join("kernels.fatbin"));
    println!("cargo::rerun-if-env-changed=CUDA_HOME");
    match nvcc.status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("nvcc failed on {KERNELS}/all.cu: {status}"),
        Err(error) => {
            panic!("failed to start nvcc: {error}; set CUDA_HOME to the folder of the CUDA toolkit")
        }
    }
}

fn nvcc() -> PathBuf {
    std::env::var_os("CUDA_HOME").map_or_else(|| "nvcc".into(), |home| PathBuf::from(home).join("bin/nvcc"))
}
