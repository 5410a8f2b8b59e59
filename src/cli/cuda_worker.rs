//! The program that runs stages on a GPU for a program that was built without CUDA: `medmerge-cuda`, the same version
//! built with the feature `cuda`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::version::commit;
use crate::error::Error;

/// Its name, beside this program or in a folder of `PATH`.
const NAME: &str = "medmerge-cuda";

/// The path of the program.
///
/// # Errors
/// There is none, or it is not this version with CUDA.
pub(super) fn find() -> Result<PathBuf, Error> {
    let beside = std::env::current_exe().ok().and_then(|exe| exe.canonicalize().ok());
    let beside = beside.and_then(|exe| exe.parent().map(Path::to_path_buf));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = beside.into_iter().chain(std::env::split_paths(&path));
    let program = folders.find_map(|folder| Some(folder.join(NAME)).filter(|file| file.is_file()));
    let program = program.ok_or_else(|| Error::Usage(missing()))?;
    check(&program).map_err(Error::Usage)?;
    Ok(program)
}

fn missing() -> String {
    format!(
        "this program was built without CUDA, and there is no {NAME} beside it or in PATH; {}, or run with --device cpu",
        how_to_build()
    )
}

/// Where there is no run, which could start another program.
pub(super) fn no_gpu() -> String {
    format!(
        "this program was built without CUDA; use {NAME} in its place ({}), or --device cpu",
        how_to_build()
    )
}

fn how_to_build() -> String {
    format!(
        "build version {} from source where the CUDA toolkit is, with `cargo build --release --features cuda`, and \
         copy target/release/medmerge to {NAME}",
        env!("CARGO_PKG_VERSION")
    )
}

/// # Errors
/// A message: it does not start, is another version, or has no CUDA.
fn check(program: &Path) -> Result<(), String> {
    let failed = |why: String| format!("failed to use {}: {why}", program.display());
    let output = Command::new(program).arg("--version").output();
    let output = output.map_err(|error| failed(format!("it does not start: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(format!("it does not start: {}", said.trim())));
    }
    fits(&String::from_utf8_lossy(&output.stdout)).map_err(failed)
}

/// Whether a program that says this about itself takes orders of this one and computes on a GPU.
fn fits(version: &str) -> Result<(), String> {
    let ours = [format!("medmerge {}", env!("CARGO_PKG_VERSION")), format!("commit: {}", commit())];
    let theirs: Vec<&str> = version.lines().take(2).collect();
    if theirs != ours {
        return Err(format!(
            "it is {}, and this program is {}; build both from the same source, with the same MEDMERGE_COMMIT",
            theirs.join(", "),
            ours.join(", ")
        ));
    }
    let features = version.lines().find_map(|line| line.strip_prefix("features: ")).unwrap_or_default();
    if !features.split(", ").any(|feature| feature == "cuda") {
        return Err("it was built without CUDA, too; build it with --features cuda".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_version_with_cuda_fits() {
        let version = |version: &str, commit: &str, features: &str| {
            format!("medmerge {version}\ncommit: {commit}\ntarget: x\nfeatures: {features}\n")
        };
        let ours = env!("CARGO_PKG_VERSION");
        assert_eq!(fits(&version(ours, commit(), "cuda")), Ok(()));
        assert!(fits(&version("9.9.9", commit(), "cuda")).unwrap_err().contains("medmerge 9.9.9"));
        assert!(fits(&version(ours, "abc", "cuda")).unwrap_err().contains("commit: abc"));
        assert!(fits(&version(ours, commit(), "no optional features")).unwrap_err().contains("without CUDA"));
        assert!(fits("").is_err());
    }
}
