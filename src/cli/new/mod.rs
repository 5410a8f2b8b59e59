//! `medmerge new`.

mod data;
mod template;

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Error;
use super::output::stdout;
use crate::experiment::json_schema;
use data::Data;
use template::Template;

/// Name of the schema, next to the experiments.
pub(super) const SCHEMA: &str = "experiment.schema.json";

/// What a template takes unless told otherwise.
const TARGET: &str = "fundus";
const SOURCES: [&str; 2] = ["cells", "xray"];

/// Write a new experiment file from a template, with a comment for every key
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge new trial                                       experiments/trial.toml: two sources, merged for a target
  medmerge new rates --template sweep                      a learning rate, chosen on validation images
  medmerge new skin --template own-images --images skin/labels.csv
  medmerge new lesions --template merge --target skin/labels.csv --sources cells,chest/labels.csv
  medmerge new paper --template paper                      experiments/paper/: the tables of the paper

On a terminal, and without --template, it asks. Everything but `paper` and `own-images` runs as it is, on synthetic
images. DATA is cells, fundus, lesions or xray for synthetic images, or the path of a CSV with the columns `image` and
`label`.")]
pub(super) struct New {
    /// Name of the experiment, and of its file
    name: String,
    /// What it compares
    #[arg(long, value_enum, value_name = "TEMPLATE")]
    template: Option<Template>,
    /// The task to learn [default: fundus]
    #[arg(long, value_name = "DATA")]
    target: Option<String>,
    /// What sources learn: two for `merge`, one for `transfer` and `sweep` [default: cells,xray]
    #[arg(long, value_name = "DATA,…", value_delimiter = ',')]
    sources: Vec<String>,
    /// CSV with the target's images: the same as --target
    #[arg(long, value_name = "CSV", conflicts_with = "target")]
    images: Option<PathBuf>,
    /// Side in pixels to which images that a CSV lists are resized [default: 64]
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// Folder of experiment files
    #[arg(long, value_name = "DIR", default_value = "experiments")]
    folder: PathBuf,
}

impl New {
    pub(super) fn execute(&self) -> Result<(), Error> {
        check_name(&self.name)?;
        let asks = self.template.is_none() && std::io::stdin().is_terminal();
        let template = self.template(asks)?;
        let target = self.target(template, asks)?;
        let sources = self.sources(template, asks)?;
        let size = self.size(&target, &sources)?;
        let files = template.files(&self.name, &self.folder, (&target, &sources), size);
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

    fn template(&self, asks: bool) -> Result<Template, Error> {
        match self.template {
            Some(template) => Ok(template),
            None if asks => Template::named(&answer(&Template::question())?).map_err(Error::Usage),
            None => Ok(Template::default()),
        }
    }

    fn target(&self, template: Template, asks: bool) -> Result<Data, Error> {
        if let (Template::Paper, true) = (template, self.target.is_some() || self.images.is_some()) {
            let given = if self.images.is_some() { "--images" } else { "--target" };
            let message = format!("the template `paper` has data sets of its own; omit {given}");
            return Err(Error::Usage(message));
        }
        if let Some(csv) = &self.images {
            return Data::listed(csv, &self.folder);
        }
        let word = match &self.target {
            Some(word) => word.clone(),
            None if asks && template != Template::Paper => answer_or("Target", TARGET)?,
            None => TARGET.to_owned(),
        };
        let target = Data::named(&word, &self.folder)?;
        if template == Template::OwnImages && !target.is_listed() {
            let message = "this template needs --images, a CSV with the columns `image` and `label`";
            return Err(Error::Usage(message.into()));
        }
        Ok(target)
    }

    fn sources(&self, template: Template, asks: bool) -> Result<Vec<Data>, Error> {
        let needed = template.sources();
        if !self.sources.is_empty() && self.sources.len() != needed {
            let message = format!("this template takes {needed} sources, not {}", self.sources.len());
            return Err(Error::Usage(message));
        }
        let source = |i: usize| {
            let word = match self.sources.get(i) {
                Some(word) => word.clone(),
                None if asks => answer_or(&format!("Source {}", i + 1), SOURCES[i])?,
                None => SOURCES[i].to_owned(),
            };
            Data::named(&word, &self.folder)
        };
        (0..needed).map(source).collect()
    }

    fn size(&self, target: &Data, sources: &[Data]) -> Result<usize, Error> {
        let all: Vec<&Data> = std::iter::once(target).chain(sources).collect();
        match self.size {
            Some(_) if !all.iter().any(|data| data.is_listed()) => {
                let message = "--size needs --images, or a CSV in --target or --sources";
                Err(Error::Usage(message.into()))
            }
            size => Ok(size.unwrap_or_else(|| Data::size(&all))),
        }
    }
}

/// What the user types on a terminal.
fn answer(question: &str) -> Result<String, Error> {
    write!(stdout(), "{question}")?;
    stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

fn answer_or(question: &str, default: &str) -> Result<String, Error> {
    let kinds = "cells, fundus, lesions, xray, or the path of a CSV";
    let answer = answer(&format!("{question}: {kinds} [{default}]: "))?;
    Ok(if answer.is_empty() { default.to_owned() } else { answer })
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
    fn a_name_is_a_file_name() {
        assert!(check_name("my-trial_2").is_ok());
        for name in ["", "a/b", "../a", "a b", "a.toml", "\"x"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
