//! `[experiment] include`: parts shared by several experiment files.
//!
//! Each part is read as a separate file and merged under the file that includes it, section by section and key by key,
//! as `[train]` is merged under a stage: the including file takes precedence. Everything keeps its location, so that
//! messages point into the part.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Diagnostic, Report};
use super::source::{LARGEST, no_utf8};
use super::tree::{self, Table, Value};
use super::{Source, shape};

/// A file included by an experiment file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Path of the file.
    pub path: PathBuf,
    /// Text of the file.
    pub text: String,
}

/// Read the parts that a text includes, relative to `folder`. Other errors in the text are found later.
///
/// # Errors
/// The location of each part that cannot be read, and why.
pub(super) fn read(text: &str, folder: &Path) -> Result<Vec<Part>, Vec<Diagnostic>> {
    let Ok(root) = DeTable::parse(text) else { return Ok(Vec::new()) };
    let mut wrong = Vec::new();
    let names =
        root.get_ref().get("experiment").and_then(|header| header.get_ref().as_table()?.get("include"));
    let names = names.and_then(|names| names.get_ref().as_array()).into_iter().flat_map(|names| names.iter());
    let mut parts = Vec::new();
    for (name, span) in names.filter_map(|name| Some((name.get_ref().as_str()?, name.span()))) {
        let path = folder.join(name);
        match text_of(&path) {
            Ok(text) => parts.push(Part { path, text }),
            Err(error) => {
                let message = format!("failed to read {}: {error}", path.display());
                let help = "paths are relative to the experiment file's folder".to_owned();
                wrong.push(Diagnostic::at(span, message).with_help(help));
            }
        }
    }
    if wrong.is_empty() { Ok(parts) } else { Err(wrong) }
}

fn text_of(path: &Path) -> io::Result<String> {
    let bytes = kind::file::read(path, LARGEST)?;
    String::from_utf8(bytes).map_err(|error| io::Error::other(no_utf8(error.utf8_error())))
}

/// The tree of a file with its parts merged, unless a part is invalid.
pub(super) fn root<'i>(source: &'i Source, report: &mut Report) -> Option<Table<'i>> {
    let mut root = tree::parse(&source.text, report);
    for (at, part) in source.parts_at() {
        let below = parse(part, at, report);
        root = root.zip(below).map(|(mut root, below)| {
            shape::write_out_within(&mut root);
            shape::inherit(&below, &mut root);
            root
        });
    }
    root
}

/// The tree of a part whose text starts at offset `at`.
fn parse<'i>(part: &'i Part, at: usize, report: &mut Report) -> Option<Table<'i>> {
    let mut own = Report::default();
    let parsed = tree::parse(&part.text, &mut own);
    for found in own.into_list() {
        let span = found.span.map(|span| span.start + at..span.end + at);
        report.add(Diagnostic { span, ..found });
    }
    let mut table = placed(parsed?, at);
    if let Some((key, _)) = table.remove_entry("experiment") {
        let message = "an included part cannot have a section `experiment`";
        let help = "move it to the files that include the part; to reuse an experiment, include the parts that it \
                    includes and copy the rest";
        report.add(Diagnostic::at(key.span(), message).with_help(help.to_owned()));
        return None; // otherwise every name from the part's own parts would be reported as unknown
    }
    shape::write_out_within(&mut table);
    Some(table)
}

fn placed(table: Table<'_>, at: usize) -> Table<'_> {
    let whole: Value<'_> = Spanned::new(0..0, DeValue::Table(table));
    match tree::placed(whole, &|span| span.start + at..span.end + at).into_inner() {
        DeValue::Table(table) => table,
        _ => unreachable!("a table stays one"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Experiment;
    use super::*;

    const PART: &str = "[sweep]\nseed = [0, 1]\n[train]\noptimizer = 'adamw'\nepochs = 3\n\
        [dataset.d.phantom]\nfamily = 'cells'\n\
        [stage.a.pretrain]\nbackbone.resnet18 = { width = 8 }\ndataset = 'd'\n";

    fn with(file: &str, part: &str) -> Result<Experiment, String> {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("part.toml", part);
        write("a.toml", &format!("[experiment]\nname = 'x'\ninclude = ['part.toml']\n{file}"));
        let loaded = Experiment::load(&folder.path().join("a.toml"));
        loaded.map_err(|errors| errors.to_string().replace(&*folder.path().to_string_lossy(), ""))
    }

    #[test]
    fn the_including_file_takes_precedence_key_by_key() {
        let file =
            "[sweep]\nseed = [7]\n[train]\noptimizer.adamw.lr = 0.5\n[dataset.d.phantom]\ntrain = 40\n";
        let experiment = with(file, PART).unwrap();
        assert_eq!(experiment.axes["seed"].len(), 1);
        let spec = serde_json::to_value(&experiment.stages[0].spec).unwrap();
        let train = &spec["pretrain"]["train"];
        assert_eq!(
            (train["epochs"].as_u64(), train["optimizer"]["adamw"]["lr"].as_f64()),
            (Some(3), Some(0.5))
        );
        let data = serde_json::to_value(&experiment.datasets[0].spec).unwrap();
        assert_eq!(
            (data["phantom"]["family"].as_str(), data["phantom"]["train"].as_u64()),
            (Some("cells"), Some(40))
        );
    }

    #[test]
    fn messages_point_into_the_part() {
        let wrong = with("", &PART.replace("'d'", "'e'")).unwrap_err();
        assert!(wrong.contains("/part.toml:10:11"), "{wrong}");
        let wrong = with("", "[train]\nepochs = = 3").unwrap_err();
        assert!(wrong.contains("/part.toml:2:10"), "{wrong}");
    }

    #[test]
    fn a_part_exists_and_is_not_an_experiment() {
        let wrong = with("", &format!("[experiment]\nname = 'y'\n{PART}")).unwrap_err();
        assert!(wrong.contains("an included part cannot have a section `experiment`"), "{wrong}");
        assert_eq!(wrong.matches("error").count(), 1, "{wrong}");
        let source = Source::read(Path::new("nowhere.toml"));
        assert!(source.is_err());
        let missing = read("[experiment]\ninclude = ['b.toml', 'c.toml']", Path::new("nowhere")).unwrap_err();
        assert_eq!(missing.len(), 2);
        assert!(missing[0].message.starts_with("failed to read nowhere/b.toml: "), "{missing:?}");
    }

    #[test]
    fn an_override_applies_to_keys_of_a_part() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("part.toml"), PART).unwrap();
        let file = folder.path().join("a.toml");
        std::fs::write(&file, "[experiment]\nname = 'x'\ninclude = ['part.toml']").unwrap();
        let experiment = Experiment::load_with(&file, &["stage.a.epochs=9".into()]).unwrap();
        let spec = serde_json::to_value(&experiment.stages[0].spec).unwrap();
        assert_eq!(spec["pretrain"]["train"]["epochs"].as_u64(), Some(9));
    }
}
