//! `medmerge data kinds`.

use std::io::Write;

use clap::Args;

use super::Error;
use crate::cli::output::{folded, stdout};
use crate::experiment::{KeyDefault, KeyReference, KindReference, dataset_kinds};
use crate::kind::suggest;

/// Show the kinds of data sets: the layout of their files and their keys
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge data kinds             all kinds
  medmerge data kinds isic2018    layout and keys of one")]
pub(in crate::cli) struct Kinds {
    /// Kind to show
    #[arg(value_name = "KIND")]
    kind: Option<String>,
}

impl Kinds {
    pub(super) fn execute(&self) -> Result<(), Error> {
        let kinds = dataset_kinds();
        let mut out = stdout();
        match &self.kind {
            None => Ok(list(&kinds, &mut out)?),
            Some(name) => Ok(show(named(&kinds, name)?, &mut out)?),
        }
    }
}

fn named<'k>(kinds: &'k [KindReference], name: &str) -> Result<&'k KindReference, Error> {
    kinds.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name.as_str()).collect();
        let help = suggest::help(name, &names).unwrap_or_default();
        Error::Usage(format!("there is no kind of data set `{name}`; {help}"))
    })
}

fn list(kinds: &[KindReference], out: &mut impl Write) -> std::io::Result<()> {
    let width = kinds.iter().map(|kind| kind.name.len()).max().unwrap_or_default();
    for KindReference { name, summary, .. } in kinds {
        let first = summary.split(". ").next().unwrap_or_default();
        writeln!(out, "{}", folded(&format!("{name:<width$}  {}", first.trim_end_matches('.'))))?;
    }
    Ok(())
}

fn show(kind: &KindReference, out: &mut impl Write) -> std::io::Result<()> {
    let KindReference { name, summary, layout, keys } = kind;
    let summary = folded(summary);
    writeln!(out, "{}\n\n{summary}\n\nKeys of [dataset.<name>.{name}]:", layout.trim_end())?;
    keys.iter().try_for_each(|key| describe(key, out))
}

fn describe(key: &KeyReference, out: &mut impl Write) -> std::io::Result<()> {
    let KeyReference { name, value, default, meaning } = key;
    let default = match default {
        KeyDefault::Required => ", required".to_owned(),
        KeyDefault::None => String::new(),
        KeyDefault::Value(value) => format!(", default {value}"),
    };
    writeln!(out, "\n{}", folded(&format!("  {name} ({value}{default})\n      {meaning}")))
}
