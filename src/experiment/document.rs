//! The file's sections, split by type: names and kinds are checked, contents are still raw.

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use super::Span;
use super::decode::decode;
use super::error::{Diagnostic, Report};
use super::tree::{self, Key, Table, Value};
use dataset::DatasetSpec;
use kind::suggest;
use stage::StageSpec;

/// The sections of a file.
pub(super) const SECTIONS: [&str; 7] =
    ["experiment", "sweep", "dataset", "train", "stage", "table", "figure"];

/// A file, split into sections.
pub(super) struct Document<'i> {
    /// `[experiment] name`.
    pub(super) name: String,
    /// `[experiment] description`.
    pub(super) description: String,
    /// `[experiment] notes`.
    pub(super) notes: String,
    /// `[sweep]`.
    pub(super) sweep: Option<Value<'i>>,
    /// `[train]`.
    pub(super) train: Option<Value<'i>>,
    /// `[dataset.<name>.<kind>]`.
    pub(super) datasets: Vec<Section<'i>>,
    /// `[stage.<name>.<kind>]`.
    pub(super) stages: Vec<Section<'i>>,
    /// `[table.<name>]`.
    pub(super) tables: Vec<(Key<'i>, Value<'i>)>,
    /// `[figure.<name>]`.
    pub(super) figures: Vec<(Key<'i>, Value<'i>)>,
}

/// `[stage.<name>.<kind>]` or `[dataset.<name>.<kind>]`.
pub(super) struct Section<'i> {
    /// The name, the second part of the header.
    pub(super) name: Key<'i>,
    /// Its kind and keys; `None` if the kind is invalid.
    pub(super) content: Option<(Key<'i>, Value<'i>)>,
}

/// Name, description, notes and included parts of the experiment.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// Name of the experiment and of its folder under `results/`: letters, digits, `-`, `_` and `.`, with `/` between
    /// nested folders.
    #[schemars(with = "String")]
    name: Spanned<String>,
    /// Description of the experiment, for readers.
    #[serde(default)]
    description: String,
    /// Text to print below the tables in a terminal: how to read them, what to try next. It does not affect results.
    #[serde(default)]
    notes: String,
    /// Paths of parts to include, relative to this file. Keys of this file take precedence over those of the parts.
    // Read first, by `super::include`.
    #[serde(default, rename = "include")]
    _include: Vec<String>,
}

impl<'i> Document<'i> {
    /// Split a file into its sections, and report every error in their names and kinds.
    pub(super) fn read(mut root: Table<'i>, report: &mut Report) -> Self {
        for key in root.keys().filter(|key| !SECTIONS.contains(&key.get_ref().as_ref())) {
            let message = format!("unknown section `{}`", key.get_ref());
            let help = suggest::help(key.get_ref(), &SECTIONS);
            report.add(Diagnostic::at(key.span(), message).with_help(help));
        }
        let header = header(root.remove("experiment"), report);
        let (name, description, notes) = header.map_or_else(Default::default, |header| {
            (header.name.into_inner(), header.description, header.notes)
        });
        Self {
            name,
            description,
            notes,
            datasets: sections(root.remove("dataset"), "dataset", DatasetSpec::KINDS, report),
            stages: sections(root.remove("stage"), "stage", StageSpec::KINDS, report),
            tables: named(root.remove("table"), "table", report),
            figures: named(root.remove("figure"), "figure", report),
            sweep: root.remove("sweep"),
            train: root.remove("train"),
        }
    }
}

/// The longest name, in bytes: names are names of files, too.
const LONGEST_NAME: usize = 100;

/// What is wrong with a name and what to do; `what` has an article: `a stage`.
pub(super) fn wrong_name(name: &str, what: &str) -> Option<(String, String)> {
    let is_long = name.len() > LONGEST_NAME;
    if is_long {
        let message = format!("the name of {what} has {} bytes; {LONGEST_NAME} is the limit", name.len());
        return Some((message, "choose a shorter name".to_owned()));
    }
    let message = || format!("\"{name}\" is not a valid name of {what}");
    (!is_name(name)).then(|| (message(), "use letters, digits, _ and -".to_owned()))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// Whether this is a portable folder name, or several nested ones separated by `/`.
fn is_folder_name(name: &str) -> bool {
    name.split('/').all(|name| is_name(&name.replace('.', "_")) && name.chars().any(|c| c != '.'))
}

fn header(section: Option<Value<'_>>, report: &mut Report) -> Option<Header> {
    const HELP: &str =
        "use letters, digits, -, _ and ., with / between nested folders; it is the folder under results/";
    let Some(section) = section else {
        let help = "start the file with `[experiment]` and `name = \"…\"`".to_owned();
        report.add(Diagnostic::new("section `[experiment]` is missing").with_help(help));
        return None;
    };
    let header: Option<Header> = decode(section, report).spec;
    if let Some(Header { name, .. }) = &header {
        let long =
            wrong_name(name.get_ref(), "an experiment").filter(|_| name.get_ref().len() > LONGEST_NAME);
        let message = format!("\"{}\" is not a valid name of an experiment", name.get_ref());
        let invalid = (!is_folder_name(name.get_ref())).then(|| (message, HELP.to_owned()));
        if let Some((message, help)) = long.or(invalid) {
            report.add(Diagnostic::at(name.span(), message).with_help(help));
        }
    }
    header
}

/// The entries of `[what.…]`, in file order.
fn named<'i>(section: Option<Value<'i>>, what: &str, report: &mut Report) -> Vec<(Key<'i>, Value<'i>)> {
    let Some(section) = section else { return Vec::new() };
    let (span, found) = (section.span(), tree::kind_of(&section));
    let DeValue::Table(table) = section.into_inner() else {
        report.add(Diagnostic::at(span, format!("expected sections `[{what}.<name>]`, found {found}")));
        return Vec::new();
    };
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    for (name, _) in &entries {
        if let Some((message, help)) = wrong_name(name.get_ref(), &format!("a {what}")) {
            report.add(Diagnostic::at(name.span(), message).with_help(help));
        }
    }
    entries
}

fn sections<'i>(
    section: Option<Value<'i>>,
    what: &str,
    kinds: &[&str],
    report: &mut Report,
) -> Vec<Section<'i>> {
    let entries = named(section, what, report).into_iter();
    entries
        .map(|(name, value)| Section { content: content(&name, value, what, kinds, report), name })
        .collect()
}

/// The only kind of a section, and its keys.
fn content<'i>(
    name: &Key<'i>,
    value: Value<'i>,
    what: &str,
    kinds: &[&str],
    report: &mut Report,
) -> Option<(Key<'i>, Value<'i>)> {
    let known = |key: &Key<'_>| kinds.contains(&key.get_ref().as_ref());
    let table = match value.into_inner() {
        DeValue::Table(table)
            if table.iter().all(|(key, inner)| known(key) || inner.get_ref().is_table()) =>
        {
            table
        }
        _ => Table::new(),
    };
    if table.is_empty() {
        let message = format!("{what} `{}` has no kind", name.get_ref());
        let help =
            format!("write `[{what}.{}.<kind>]`; the kinds are {}", name.get_ref(), suggest::list(kinds));
        report.add(Diagnostic::at(name.span(), message).with_help(help));
    }
    let (right, wrong): (Vec<_>, Vec<_>) = table.into_iter().partition(|(key, _)| known(key));
    for (key, _) in wrong {
        let message = format!("unknown kind of {what} `{}`", key.get_ref());
        report.add(Diagnostic::at(key.span(), message).with_help(suggest::help(key.get_ref(), kinds)));
    }
    let mut right = right.into_iter();
    let first = right.next()?;
    for (key, _) in right {
        second_kind(name, &first.0, key.span(), what, report);
    }
    if !first.1.get_ref().is_table() {
        let message = format!("expected a table, found {}", tree::kind_of(&first.1));
        report.add(Diagnostic::at(first.1.span(), message));
        return None;
    }
    Some(first)
}

fn second_kind(name: &Key<'_>, kind: &Key<'_>, span: Span, what: &str, report: &mut Report) {
    let message = format!("{what} `{}` already is a `{}`", name.get_ref(), kind.get_ref());
    let help = format!("a {what} has exactly one kind; give the other one its own name");
    report.add(Diagnostic::at(span, message).with_help(help));
}

#[cfg(test)]
mod tests {
    use super::super::testing::messages;
    use super::*;

    fn read(text: &str) -> (Document<'_>, Vec<String>) {
        let mut report = Report::default();
        let root = tree::parse(text, &mut report).unwrap();
        let document = Document::read(root, &mut report);
        (document, messages(report))
    }

    #[test]
    fn sections_are_split_by_type() {
        let text =
            "[stage.a.pretrain]\n[dataset.d.phantom]\n[stage.b.merge]\n[experiment]\nname = 'x.1'\n[table.t]";
        let (document, errors) = read(text);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!((document.name.as_str(), document.tables.len(), document.datasets.len()), ("x.1", 1, 1));
        let kind =
            |section: &Section<'_>| section.content.as_ref().map(|(kind, _)| kind.get_ref().to_string());
        let kinds: Vec<_> = document.stages.iter().map(kind).collect();
        assert_eq!(kinds, [Some("pretrain".into()), Some("merge".into())]);
    }

    #[test]
    fn errors_in_names_and_kinds_are_reported() {
        let text = "stages = 1\ndataset = 2\n[experiment]\nname = '..'\n[stage.a.finetun]\n[stage.b]\nfrom = 'a'\n\
                    epochs = 3\n[stage.c]\n[stage.'d e'.merge]\n[stage.f.merge]\n[stage.f.evaluate]\n[[stage.g.merge]]";
        assert_eq!(
            read(text).1,
            [
                "unknown section `stages`",
                "expected sections `[dataset.<name>]`, found an integer",
                "\"..\" is not a valid name of an experiment",
                "unknown kind of stage `finetun`",
                "stage `b` has no kind",
                "stage `c` has no kind",
                "\"d e\" is not a valid name of a stage",
                "stage `f` already is a `merge`",
                "expected a table, found an array",
            ]
        );
    }

    #[test]
    fn an_experiment_needs_a_name() {
        assert_eq!(read("").1, ["section `[experiment]` is missing"]);
        assert_eq!(read("[experiment]").1, ["missing key `name`"]);
        assert!(read("[experiment]\nname = 'small/main'").1.is_empty());
        for name in ["", "/a", "a//b", "a/..", "..", "a b", "ä"] {
            assert_eq!(read(&format!("[experiment]\nname = '{name}'")).1.len(), 1, "{name}");
        }
    }
}
