//! `medmerge init`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Error;
use super::new::{SCHEMA, write_new};
use super::output::stdout;
use crate::experiment::json_schema;

/// Start a project: a folder of experiments with the quick start, a .gitignore and a README
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge init                     in the current folder, which must be empty (it may have .git)
  medmerge init merging             in a new folder
  cd merging && medmerge run experiments/quickstart.toml

The quick start draws its own images: nothing is downloaded. `medmerge new` writes further experiments.")]
pub(super) struct Init {
    /// Folder of the project; it must not exist or be empty
    #[arg(value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
}

const QUICKSTART: &str = include_str!("../../experiments/quickstart.toml");
const README: &str = include_str!("init/readme.md");
const IGNORED: &str = "\
# what medmerge makes again from experiments/ and the data
/.medmerge
";

impl Init {
    pub(super) fn execute(&self) -> Result<(), Error> {
        self.check_empty()?;
        let files = [
            ("experiments/quickstart.toml", quickstart()),
            (&format!("experiments/{SCHEMA}"), format!("{:#}\n", json_schema())),
            (".gitignore", IGNORED.to_owned()),
            ("README.md", README.replace("{version}", env!("CARGO_PKG_VERSION"))),
        ];
        for (name, text) in &files {
            let path = self.folder.join(name);
            write_new(&path, text)?;
            writeln!(stdout(), "{}", path.display())?;
        }
        let enter = match self.folder == Path::new(".") {
            true => String::new(),
            false => format!("cd {} && ", self.folder.display()),
        };
        Ok(writeln!(stdout(), "next: {enter}medmerge run experiments/quickstart.toml")?)
    }

    /// Hidden files of other tools, such as .git, do no harm.
    fn check_empty(&self) -> Result<(), Error> {
        let folder = self.folder.display();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::Usage(format!("failed to read {folder}: {error}"))),
        };
        let mut names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        match names.find(|name| !name.starts_with('.') || name == ".gitignore") {
            Some(name) => Err(Error::Usage(format!(
                "{folder} is not empty: it has {name}; name a new folder, or add an experiment here with: medmerge new NAME"
            ))),
            None => Ok(()),
        }
    }
}

/// The quick start as it is outside this program's source.
fn quickstart() -> String {
    let text = QUICKSTART.replace("#:schema ../src/guide/reference/", "#:schema ");
    text.replace("cargo run --release -- run", "medmerge run")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_start_names_nothing_of_the_source() {
        let text = quickstart();
        assert!(text.starts_with(&format!("#:schema {SCHEMA}\n")), "{text}");
        assert!(!text.contains("cargo") && !text.contains("src/"), "{text}");
    }
}
