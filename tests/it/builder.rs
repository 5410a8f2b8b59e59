//! A folder with an experiment file, to read it from or to run the binary in.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use medmerge::experiment::{Errors, Experiment};
use tempfile::TempDir;

/// Every kind of stage that needs no file, as small as it gets.
pub(crate) const EXPERIMENT: &str = r#"
[experiment]
name = "tiny"

[sweep]
seed = [0, 1]

[dataset.cells.phantom]
family = "cells"
size = 12
train = 32
val = 16
test = 16

[dataset.xray.phantom]
family = "xray"
size = 12
train = 32
val = 16
test = 16

[train]
epochs = 1
batch_size = 16
augment = [{ crop = { padding = 1 } }, "horizontal_flip"]

[stage.source_a.pretrain]
backbone.resnet18 = { stem = "small", width = 16 }
dataset = "cells"
seed = 7

[stage.source_b.pretrain]
backbone.resnet18 = { stem = "small", width = 16 }
dataset = "cells"
seed = 8

[stage.probe_a.finetune]
from = "source_a"
dataset = "xray"
trainable = "head"
augment = []

[stage.probe_b.finetune]
from = "source_b"
dataset = "xray"
trainable = "head"

[stage.weights.learn_merge_weights]
sources = ["probe_a", "probe_b"]
anchor = "probe_a"
dataset = "xray"

[stage.merged.merge]
sources = ["probe_a", "probe_b"]
method.learned = { weights = "weights" }
dataset = "xray"

[stage.average.merge]
sources = ["probe_a", "probe_b"]
method = "average"
dataset = "xray"

[stage.final.finetune]
from = "merged"
dataset = "xray"
optimizer.adamw = { lr = 0.002 }

[stage.scores.evaluate]
models = { "merged" = "merged", "average" = "average", "final" = "final" }
datasets = ["xray"]

[table.main]
from = ["scores"]
metrics = ["macro_f1", "accuracy"]
"#;

/// A temporary folder that holds `experiment.toml`.
pub(crate) struct Workplace {
    folder: TempDir,
}

impl Workplace {
    /// With this text as the experiment file.
    pub(crate) fn new(experiment: &str) -> Self {
        let folder = tempfile::tempdir().expect("failed to make a temporary folder");
        Self { folder }.with("experiment.toml", experiment)
    }

    /// With another file in the folder.
    pub(crate) fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).expect("failed to make a folder");
        std::fs::write(path, content).expect("failed to write a file");
        self
    }

    /// The path of a file in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The checked experiment.
    pub(crate) fn load(&self) -> Result<Experiment, Errors> {
        Experiment::load(&self.path("experiment.toml"))
    }

    /// The binary, in this folder, undisturbed by the environment's settings.
    pub(crate) fn medmerge(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medmerge"));
        for name in ["MEDMERGE_STORE", "MEDMERGE_RESULTS", "RUST_LOG"] {
            command.env_remove(name);
        }
        command.current_dir(self.folder.path()).args(arguments);
        command
    }
}

#[test]
fn the_binary_starts_in_the_folder() {
    Workplace::new("").medmerge(&["--help"]).assert().success();
}

/// A terminal with this number of columns: our end, and that of a program.
#[cfg(target_os = "linux")]
pub(crate) fn terminal(columns: u16) -> (std::fs::File, std::fs::File) {
    use std::os::fd::FromRawFd;
    let (mut ours, mut its) = (0, 0);
    let size = libc::winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let null = std::ptr::null_mut();
    // SAFETY: the pointers are valid, or null for defaults.
    let opened = unsafe { libc::openpty(&mut ours, &mut its, null, null.cast(), &size) };
    assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
    for end in [ours, its] {
        // Programs that other tests start meanwhile must not keep it open. SAFETY: it was just opened.
        assert_eq!(unsafe { libc::fcntl(end, libc::F_SETFD, libc::FD_CLOEXEC) }, 0);
    }
    // SAFETY: both were just opened, and are owned by nobody else.
    unsafe { (FromRawFd::from_raw_fd(ours), FromRawFd::from_raw_fd(its)) }
}
