//! `medmerge new`.

mod template;

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Component, Path, PathBuf};

use clap::Args;

use super::Error;
use super::output::stdout;
use crate::experiment::json_schema;
use template::{Target, Template};

/// Side of own images in pixels, if none is given.
const SIZE: usize = 64;

/// Name of the schema, next to the experiments.
pub(super) const SCHEMA: &str = "experiment.schema.json";

/// Write a new experiment file from a template, with a comment for every key
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge new trial                                       experiments/trial.toml: two sources, merged for a target
  medmerge new rates --template sweep                      a learning rate, chosen on validation images
  medmerge new skin --template own-images --images skin/labels.csv
  medmerge new paper --template paper                      experiments/paper/: the tables of the paper

Everything but `paper` and `own-images` runs as it is, on synthetic images.")]
pub(super) struct New {
    /// Name of the experiment, and of its file
    name: String,
    /// What it compares; asked for if stdin is a terminal
    #[arg(long, value_enum, value_name = "TEMPLATE")]
    template: Option<Template>,
    /// CSV with the columns `image` and `label`, the target's images; synthetic ones if absent
    #[arg(long, value_name = "CSV")]
    images: Option<PathBuf>,
    /// Side in pixels to which they are resized [default: 64]
    #[arg(long, value_name = "PIXELS", requires = "images")]
    size: Option<usize>,
    /// Folder of experiment files
    #[arg(long, value_name = "DIR", default_value = "experiments")]
    folder: PathBuf,
}

impl New {
    pub(super) fn execute(&self) -> Result<(), Error> {
        check_name(&self.name)?;
        let template = self.template.map_or_else(ask, Ok)?;
        let target = self.target()?;
        match (template, &self.images) {
            (Template::OwnImages, None) => {
                let message = "this template needs --images, a CSV with the columns `image` and `label`";
                return Err(Error::Usage(message.into()));
            }
            (Template::Paper, Some(_)) => {
                return Err(Error::Usage(
                    "the template `paper` has data sets of its own; omit --images".into(),
                ));
            }
            _ => {}
        }
        let files = template.files(&self.name, &self.folder, &target);
        if let Some((path, _)) = files.iter().find(|(path, _)| path.exists()) {
            return Err(exists(path));
        }
        for (path, text) in &files {
            write_new(path, text)?;
        }
        let schema = self.folder.join(SCHEMA);
        if !schema.exists() {
            write_new(&schema, &format!("{:#}\n", json_schema()))?;
        }
        let of_all = if files.len() == 1 { files[0].0.clone() } else { self.folder.join(&self.name) };
        files.iter().try_for_each(|(path, _)| writeln!(stdout(), "{}", path.display()))?;
        writeln!(stdout(), "next: medmerge check {0}, then medmerge run {0}", of_all.display())?;
        Ok(())
    }

    fn target(&self) -> Result<Target, Error> {
        let Some(csv) = &self.images else { return Ok(Target::Phantom) };
        let bytes = fs::read(csv).map_err(|error| unusable("read", csv, &error))?;
        let header = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let has_split = header.split(|byte| b",;\t|\r\"".contains(byte)).any(|column| column == b"split");
        let path = from_folder(csv, &self.folder).map_err(|error| unusable("find", csv, &error))?;
        Ok(Target::Manifest { path, size: self.size.unwrap_or(SIZE), has_split })
    }
}

/// The template that the user names, on a terminal.
fn ask() -> Result<Template, Error> {
    if !std::io::stdin().is_terminal() {
        return Ok(Template::default());
    }
    write!(stdout(), "{}", Template::question())?;
    stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Template::named(answer.trim()).map_err(Error::Usage)
}

/// A path as seen from a folder.
fn from_folder(path: &Path, folder: &Path) -> std::io::Result<PathBuf> {
    let is_plain = folder.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if path.is_absolute() || !is_plain {
        return fs::canonicalize(path);
    }
    let up = folder.components().filter(|part| matches!(part, Component::Normal(_))).map(|_| "..");
    Ok(up.collect::<PathBuf>().join(path))
}

fn check_name(name: &str) -> Result<(), Error> {
    let is_sign = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !name.is_empty() && name.chars().all(is_sign) {
        return Ok(());
    }
    Err(Error::Usage(format!("the name {name:?} must consist of letters, digits, `-`, and `_`")))
}

/// Write a file that does not exist yet.
pub(super) fn write_new(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(path),
        _ => unusable("write", path, &error),
    };
    fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).map_err(failed)?;
    let mut file = fs::File::create_new(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

fn exists(path: &Path) -> Error {
    Error::Usage(format!("{} exists; choose another name, or delete it", path.display()))
}

fn unusable(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::Usage(format!("failed to {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_seen_from_the_folder() {
        let from = |path: &str, folder: &str| from_folder(Path::new(path), Path::new(folder)).unwrap();
        assert_eq!(from("skin/labels.csv", "experiments"), Path::new("../skin/labels.csv"));
        assert_eq!(from("labels.csv", "./a/b"), Path::new("../../labels.csv"));
        assert_eq!(from("labels.csv", "."), Path::new("labels.csv"));
    }

    #[test]
    fn a_name_is_a_file_name() {
        assert!(check_name("my-trial_2").is_ok());
        for name in ["", "a/b", "../a", "a b", "a.toml", "\"x"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
