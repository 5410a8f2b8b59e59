//! The program itself: its version, manual pages, and the one that computes on a GPU in its place.

use predicates::str::contains;

use crate::builder::Workplace;

#[test]
fn the_version_says_how_the_program_was_built() {
    let place = Workplace::new("");
    let short = concat!("medmerge ", env!("CARGO_PKG_VERSION"));
    place.medmerge(&["-V"]).assert().code(0).stdout(predicates::ord::eq(format!("{short}\n")));
    let long = place.medmerge(&["--version"]).assert().code(0);
    let lines = String::from_utf8(long.get_output().stdout.clone()).unwrap();
    let names: Vec<&str> = lines.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(names, [short, "commit", "target", "features", "processor"], "{lines}");
}

#[test]
fn each_command_has_a_manual_page() {
    let place = Workplace::new("");
    place.medmerge(&["man", "man/man1"]).assert().code(0);
    for (page, says) in
        [("medmerge", "Exit codes"), ("medmerge-run", "\\-\\-jobs"), ("medmerge-store-gc", "\\-\\-yes")]
    {
        let text = std::fs::read_to_string(place.path(&format!("man/man1/{page}.1"))).unwrap();
        assert!(text.contains(".SH NAME") && text.contains(says), "{text}");
        assert!(!text.contains("processor:"), "what is true of this machine only: {text}");
    }
    assert!(!place.path("man/man1/medmerge-worker.1").exists(), "a command of the program's own");
    let failed = place.medmerge(&["man", "experiment.toml"]).assert().code(2);
    failed.stderr(contains("failed to write manual pages to experiment.toml"));
}

#[cfg(all(unix, not(feature = "cuda")))]
mod without_cuda {
    use std::os::unix::fs::PermissionsExt;

    use predicates::prelude::PredicateBooleanExt;

    use super::*;
    use crate::builder::EXPERIMENT;

    /// A run on a GPU, with a program of this name in `PATH`.
    fn run(script: Option<&str>) -> (Workplace, assert_cmd::assert::Assert) {
        let place = Workplace::new(EXPERIMENT).with("bin/unused", "");
        if let Some(script) = script {
            let program = place.path("bin/medmerge-cuda");
            std::fs::write(&program, script).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:/usr/bin:/bin", place.path("bin").display());
        let run = place.medmerge(&["run", "experiment.toml", "--device", "cuda"]).env("PATH", path).assert();
        (place, run)
    }

    /// A program that says that it is this version, and does something for every other argument.
    fn same_version(features: &str, otherwise: &str) -> String {
        let version =
            String::from_utf8(Workplace::new("").medmerge(&["--version"]).output().unwrap().stdout).unwrap();
        let version = version.replace("no optional features", features);
        format!(
            "#!/bin/sh\nif [ \"$1\" = --version ]; then cat <<'END'\n{version}END\nelse {otherwise}\nfi\n"
        )
    }

    #[test]
    fn a_missing_program_is_named_with_what_to_do() {
        let (_, run) = run(None);
        let how = contains("--features cuda").and(contains("--device cpu"));
        run.code(2).stderr(contains("there is no medmerge-cuda beside it or in PATH").and(how));
    }

    #[test]
    fn another_version_or_one_without_cuda_is_refused() {
        let (_, other) = run(Some("#!/bin/sh\necho medmerge 9.9.9\necho commit: abc\n"));
        other.code(2).stderr(contains("it is medmerge 9.9.9, commit: abc, and this program is medmerge "));
        let (_, without) = run(Some(&same_version("no optional features", "exit 1")));
        without.code(2).stderr(contains("it was built without CUDA, too"));
        let (_, broken) = run(Some("#!/bin/sh\necho libcudart.so.12: not found >&2\nexit 127\n"));
        broken.code(2).stderr(contains("it does not start: libcudart.so.12: not found"));
    }

    #[test]
    fn the_program_that_fits_is_the_worker() {
        let (place, run) = run(Some(&same_version("cuda", "echo \"$@\" >>arguments; exit 1")));
        run.code(1);
        let started = std::fs::read_to_string(place.path("arguments")).unwrap();
        assert!(started.starts_with("worker "), "{started}");
    }

    #[test]
    fn a_command_that_computes_itself_names_the_other_program() {
        let doctor = Workplace::new("").medmerge(&["doctor", "--device", "cuda"]).assert().code(2);
        doctor.stderr(contains("use medmerge-cuda in its place"));
    }
}
