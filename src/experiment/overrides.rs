//! `--set KEY=VALUE`: override a key of an experiment file before all checks.
//!
//! Overrides are merged into the tree and keep the spans of their own text, so that errors in them point there.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::SECTIONS;
use super::error::{Diagnostic, Report};
use super::tree::{self, Key, Table, Value};
use super::{FigureSpec, Source, Span, include, shape};
use dataset::DatasetSpec;
use kind::suggest;
use stage::StageSpec;

/// `KEY=VALUE` as typed; it is checked together with the experiment.
///
/// KEY is a dotted TOML path, as in `stage.final.epochs`; the kind after the name of a stage, data set or figure is optional.
/// VALUE is a TOML value, which replaces the file's; anything that is not valid TOML is a string. Tables along KEY keep
/// their other keys, except for choices such as `optimizer` and `method`: `optimizer.sgd.lr` replaces an
/// `optimizer.adamw`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Override(String);

impl Override {
    /// `KEY=VALUE`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Override {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Distribute overrides to the sources that have their sections: `train.…` and `experiment.…` apply to all,
/// `stage.final.…` to those with a stage `final`. An override that fits no source is given to one with a similar name,
/// whose check reports it.
pub fn share_out(overrides: &[Override], sources: &mut [&mut Source]) {
    for each in overrides {
        let misfits: Vec<_> = sources.iter().map(|source| each.misfit(source)).collect();
        let similar = misfits.iter().position(|misfit| misfit.as_ref().is_some_and(|misfit| misfit.similar));
        let told = misfits.iter().all(Option::is_some).then(|| similar.unwrap_or(0));
        for (i, (source, misfit)) in sources.iter_mut().zip(&misfits).enumerate() {
            if misfit.is_none() || told == Some(i) {
                source.overrides.push(each.clone());
            }
        }
    }
}

/// Apply the overrides of a source to its tree; those that do not fit are reported.
pub(super) fn applied<'i>(mut root: Table<'i>, source: &'i Source, report: &mut Report) -> Table<'i> {
    for (at, each) in source.overrides_at() {
        match each.read(at).and_then(|setting| setting.located(&root)) {
            Ok(setting) => setting.set(&mut root),
            Err(misfit) => report.add(misfit.diagnostic),
        }
    }
    root
}

/// An override that does not fit a file, or is malformed.
struct Misfit {
    diagnostic: Diagnostic,
    /// Whether the file has a similar name.
    similar: bool,
}

impl Misfit {
    fn unknown(what: &str, word: &Key<'_>, known: &[&str]) -> Self {
        let text = word.get_ref();
        let diagnostic = Diagnostic::at(word.span(), format!("unknown {what} `{text}`"));
        let similar = suggest::nearest(text, known).is_some();
        Self { diagnostic: diagnostic.with_help(suggest::help(text, known)), similar }
    }
}

impl From<Diagnostic> for Misfit {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { diagnostic, similar: false }
    }
}

impl Override {
    /// Why it does not fit a file, if so. A file with a syntax error fits every override.
    fn misfit(&self, source: &Source) -> Option<Misfit> {
        let root = include::root(source, &mut Report::default())?;
        self.read(0).and_then(|setting| setting.located(&root)).err()
    }

    /// Split a text that starts at offset `at` into KEY and VALUE.
    fn read(&self, at: usize) -> Result<Setting<'_>, Misfit> {
        let text = self.as_str();
        let ends = || text.match_indices('=').map(|(end, _)| end);
        // a quoted key may contain a `=`
        let end = ends().find(|&end| keys(&text[..end], at).is_ok()).or_else(|| ends().next());
        let Some(end) = end else {
            let diagnostic = Diagnostic::at(at..at + text.len(), "expected KEY=VALUE, found no `=`");
            return Err(diagnostic.with_help("write it as in `train.epochs=5`".to_owned()).into());
        };
        Ok(Setting { path: keys(&text[..end], at)?, value: value(&text[end + 1..], at + end + 1)? })
    }
}

/// The keys of a dotted path that starts at offset `at`.
fn keys(path: &str, at: usize) -> Result<Vec<Key<'static>>, Diagnostic> {
    let line = format!("{path}=0");
    let mut table = DeTable::parse(&line).map_err(|error| malformed(&error, at))?.into_inner();
    let mut keys = Vec::new();
    while let Some((key, inner)) = table.into_iter().next() {
        let span = behind(key.span(), at);
        keys.push(Spanned::new(span, Cow::Owned(key.into_inner().into_owned())));
        table = match inner.into_inner() {
            DeValue::Table(inner) => inner,
            _ => Table::new(),
        };
    }
    match keys.len() {
        0 => Err(Diagnostic::at(at..at + path.len(), "the key is missing")),
        _ => Ok(keys),
    }
}

/// Parse a value whose text starts at offset `at`. A string need not be quoted, but a text that starts like a quoted
/// string, an array or a table must be one.
fn value(text: &str, at: usize) -> Result<Value<'_>, Diagnostic> {
    let at = at + text.len() - text.trim_start().len();
    let text = text.trim();
    let span = at..at + text.len();
    if text.is_empty() {
        let diagnostic = Diagnostic::at(span, "the value is missing");
        return Err(diagnostic.with_help("write `\"\"` for an empty string".to_owned()));
    }
    match DeValue::parse(text) {
        Ok(value) => Ok(tree::placed(value, &|span| behind(span, at))),
        Err(error) if text.starts_with(['"', '\'', '[', '{']) => Err(malformed(&error, at)),
        Err(_) => Ok(tree::string(text, span)),
    }
}

fn malformed(error: &toml::de::Error, at: usize) -> Diagnostic {
    Diagnostic::at(behind(error.span().unwrap_or_default(), at), error.message())
}

fn behind(span: Span, at: usize) -> Span {
    span.start + at..span.end + at
}

/// A parsed override.
struct Setting<'i> {
    /// At least one key.
    path: Vec<Key<'i>>,
    value: Value<'i>,
}

/// An override resolved in a file.
struct Located<'i> {
    /// The keys of a section's table: `train`, or `stage`, `final`, `finetune`.
    section: Vec<Key<'i>>,
    /// The keys in that table, at least one.
    keys: Vec<Key<'i>>,
    value: Value<'i>,
}

impl<'i> Setting<'i> {
    /// Resolve it in a file, filling in the kind if KEY omits it.
    fn located(mut self, root: &Table<'_>) -> Result<Located<'i>, Misfit> {
        if let [section, key, ..] = &self.path[..]
            && (section.get_ref().as_ref(), key.get_ref().as_ref()) == ("experiment", "include")
        {
            let diagnostic = Diagnostic::at(key.span(), "`experiment.include` cannot be overridden");
            let help = "parts are read before keys are overridden; change `include` in the file".to_owned();
            return Err(diagnostic.with_help(help).into());
        }
        let (length, kind) = match self.path[0].get_ref().as_ref() {
            "experiment" | "train" => (1, None),
            "sweep" => self.entry(root, "axis").map(|_| (1, None))?,
            "table" => self.entry(root, "table").map(|_| (2, None))?,
            "stage" => (3, self.kind_left_out(root, "stage", StageSpec::KINDS)?),
            "dataset" => (3, self.kind_left_out(root, "data set", DatasetSpec::KINDS)?),
            "figure" => (3, self.kind_left_out(root, "figure", FigureSpec::KINDS)?),
            _ => return Err(Misfit::unknown("section", &self.path[0], &SECTIONS)),
        };
        if let Some(kind) = kind {
            self.path.insert(2, kind);
        }
        if self.path.len() <= length {
            return Err(self.is_no_key());
        }
        let keys = self.path.split_off(length);
        Ok(Located { section: self.path, keys, value: self.value })
    }

    /// The file's entry with the name in the second key.
    fn entry<'t, 'r>(&self, root: &'t Table<'r>, what: &str) -> Result<&'t Value<'r>, Misfit> {
        let [section, name, ..] = &self.path[..] else { return Err(self.is_no_key()) };
        let entries = root.get(section.get_ref().as_ref()).and_then(|entries| entries.get_ref().as_table());
        let entry = entries.and_then(|entries| entries.get(name.get_ref().as_ref()));
        entry.ok_or_else(|| Misfit::unknown(what, name, &words(entries)))
    }

    /// The kind to insert after the name of a stage, data set or figure, unless KEY has it.
    fn kind_left_out(&self, root: &Table<'_>, what: &str, kinds: &[&str]) -> Result<Option<Key<'i>>, Misfit> {
        let table = self.entry(root, what)?.get_ref().as_table();
        let [_, name, key, ..] = &self.path[..] else { return Err(self.is_no_key()) };
        let (key_text, is) = (key.get_ref().as_ref(), words(table));
        if is.contains(&key_text) {
            return Ok(None);
        }
        // A kind has keys of its own; `select` is a kind of stage, and a key of those that train.
        let holds_keys = self.path.len() > 3 || self.value.get_ref().is_table();
        let names_kind = holds_keys && kinds.contains(&key_text);
        let wrong = |at: &Key<'_>, message: String| {
            Err(Diagnostic::at(at.span(), format!("{what} `{}` {message}", name.get_ref())).into())
        };
        match is[..] {
            [kind] if names_kind => wrong(key, format!("is a `{kind}`, not a `{key_text}`")),
            [kind] if table.is_some_and(|table| table[kind].get_ref().is_table()) => {
                Ok(Some(Spanned::new(name.span(), Cow::Owned(kind.to_owned()))))
            }
            _ => wrong(name, "does not have exactly one kind".to_owned()),
        }
    }

    fn is_no_key(&self) -> Misfit {
        let path: Vec<&str> = self.path.iter().map(|key| key.get_ref().as_ref()).collect();
        let path = path.join(".");
        let span = self.path[0].span().start..self.path[self.path.len() - 1].span().end;
        let diagnostic = Diagnostic::at(span, format!("`{path}` is a section, not a key"));
        diagnostic.with_help(format!("set its keys one by one, as in `{path}.KEY=VALUE`")).into()
    }
}

fn words<'t>(table: Option<&'t Table<'_>>) -> Vec<&'t str> {
    table.iter().flat_map(|table| table.keys()).map(|key| key.get_ref().as_ref()).collect()
}

impl<'i> Located<'i> {
    /// Set the value in the tree. A section that is not a table is left unchanged; it is reported elsewhere.
    fn set(self, root: &mut Table<'i>) {
        let mut table = root;
        for key in self.section {
            let empty = Spanned::new(key.span(), DeValue::Table(Table::new()));
            let Some(inner) = tree::table_mut(table.entry(key).or_insert(empty)) else { return };
            table = inner;
        }
        put(table, &self.keys, self.value);
    }
}

/// Set a value at a path of keys. Tables along the path keep their other keys, except that a different choice replaces
/// the old one; values that are not tables are replaced by tables.
fn put<'i>(table: &mut Table<'i>, keys: &[Key<'i>], value: Value<'i>) {
    let [key, rest @ ..] = keys else { return };
    let Some(next) = rest.first() else {
        table.insert(key.clone(), value);
        return;
    };
    shape::write_out(table);
    let name = key.get_ref().as_ref();
    let goes_on = |inner: &Table<'_>| !shape::is_choice(name) || inner.contains_key(next.get_ref().as_ref());
    if !table.get(name).and_then(|inner| inner.get_ref().as_table()).is_some_and(goes_on) {
        table.insert(key.clone(), Spanned::new(key.span(), DeValue::Table(Table::new())));
    }
    if let Some(inner) = table.get_mut(name).and_then(tree::table_mut) {
        put(inner, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Experiment;
    use super::super::testing::parsed_with;
    use super::*;

    const FILE: &str = "[sweep]\nseed = [0, 1]\n[train]\noptimizer = 'adamw'\nepochs = 3\n\
        [dataset.d.phantom]\nfamily = 'cells'\n\
        [stage.a.pretrain]\nbackbone.resnet18 = { width = 8 }\ndataset = 'd'\nnormalize = 'imagenet'\n\
        [stage.e.evaluate]\nmodels = { 'x=y' = 'a' }\ndatasets = ['d']\n\
        [table.loss]\nfrom = ['e']\nmetrics = ['accuracy']\n";

    fn with(overrides: &[&str]) -> Experiment {
        parsed_with(FILE, overrides).unwrap()
    }

    /// The spec of the first stage with this name, as JSON.
    fn stage(name: &str, overrides: &[&str]) -> serde_json::Value {
        let experiment = with(overrides);
        let stage = experiment.stages.iter().find(|stage| stage.name == name).unwrap();
        serde_json::to_value(&stage.spec).unwrap()
    }

    fn errors(overrides: &[&str]) -> Vec<String> {
        parsed_with(FILE, overrides).err().unwrap_or_default()
    }

    #[test]
    fn a_value_is_toml_or_else_a_string() {
        assert_eq!(with(&["experiment.name=other"]).name, "other");
        assert_eq!(with(&["experiment.name = 'other' "]).name, "other");
        assert_eq!(with(&["experiment.description=two words = 1"]).description, "two words = 1");
        assert_eq!(with(&["sweep.seed=[5]"]).axes["seed"].len(), 1);
        assert_eq!(errors(&["train.epochs=1e"]), ["expected a non-negative integer, found string \"1e\""]);
    }

    #[test]
    fn what_looks_like_a_quoted_string_an_array_or_a_table_must_be_one() {
        for value in ["[0", "'x", "\"", "{ a = }", "[1] 2", "{}x"] {
            assert_eq!(errors(&[&format!("sweep.seed={value}")]).len(), 1, "{value}");
        }
    }

    #[test]
    fn a_kind_may_be_left_out() {
        for key in ["stage.a.backbone.resnet18.width", "stage.a.pretrain.backbone.resnet18.width"] {
            let spec = stage("a", &[&format!("{key}=4")]);
            assert_eq!(spec["pretrain"]["backbone"]["resnet18"]["width"], 4, "{key}");
        }
        assert_eq!(errors(&["stage.a.merge.sources=[]"]), ["stage `a` is a `pretrain`, not a `merge`"]);
        assert_eq!(errors(&["stage.a.merge={}"]), ["stage `a` is a `pretrain`, not a `merge`"]);
        assert_eq!(stage("a", &["stage.a.select=none"])["pretrain"]["train"]["select"], "none");
    }

    #[test]
    fn a_table_keeps_its_other_keys_however_it_is_written() {
        let spec = stage("a", &["train.optimizer.adamw.lr=0.5", "stage.a.normalize.std=[1, 1, 1]"]);
        assert_eq!(spec["pretrain"]["train"]["optimizer"]["adamw"]["lr"], 0.5);
        let normalize = &spec["pretrain"]["normalize"];
        assert_eq!((&normalize["mean"][0], &normalize["std"][0]), (&0.485_f32.into(), &1_f32.into()));
        let experiment = with(&["stage.e.models.\"x=y\"=a", "stage.e.models.second=a"]);
        let models = experiment.stages[experiment.stages.len() - 1].spec.inputs();
        let rows: Vec<_> = models.iter().map(|model| model.label.as_deref()).collect();
        assert_eq!(rows, [Some("x=y"), Some("second")]);
    }

    #[test]
    fn another_choice_replaces_the_old_one_but_names_are_not_choices() {
        let spec = stage("a", &["train.optimizer.sgd.lr=0.5", "train.optimizer.sgd.momentum=0.25"]);
        let sgd = &spec["pretrain"]["train"]["optimizer"]["sgd"];
        assert_eq!((&sgd["lr"], &sgd["momentum"]), (&0.5.into(), &0.25.into()));
        let table = &with(&["table.loss.rows=seed"]).tables["loss"];
        assert_eq!((table.rows.as_str(), table.from.len()), ("seed", 1));
    }

    #[test]
    fn the_last_of_several_counts_and_train_need_not_be_in_the_file() {
        let spec = stage("a", &["train.epochs=-5", "train.epochs=7"]);
        assert_eq!(spec["pretrain"]["train"]["epochs"], 7);
        let bare = FILE.replace("[train]\noptimizer = 'adamw'\nepochs = 3\n", "");
        assert!(parsed_with(&bare, &["train.epochs=7"]).is_ok());
    }

    #[test]
    fn sections_are_not_made_and_not_replaced() {
        for (set, message) in [
            ("stage.b.epochs=1", "unknown stage `b`"),
            ("dataset.e.train=1", "unknown data set `e`"),
            ("sweep.target=['x']", "unknown axis `target`"),
            ("table.main.rows='seed'", "unknown table `main`"),
            ("stages.a.epochs=1", "unknown section `stages`"),
            ("train={}", "`train` is a section, not a key"),
            ("stage.a={}", "`stage.a` is a section, not a key"),
            ("stage.a.pretrain={}", "`stage.a.pretrain` is a section, not a key"),
            ("table=1", "`table` is a section, not a key"),
            ("experiment.include=['a.toml']", "`experiment.include` cannot be overridden"),
        ] {
            assert_eq!(errors(&[set]), [message]);
        }
    }

    #[test]
    fn malformed_overrides_are_reported() {
        assert_eq!(errors(&["train.epochs"]), ["expected KEY=VALUE, found no `=`"]);
        assert_eq!(errors(&["train.epochs="]), ["the value is missing"]);
        assert_eq!(errors(&["#=1"]), ["the key is missing"]);
        for key in ["", "train..epochs", "train.ep ochs", "[train]", "'train"] {
            assert_eq!(errors(&[&format!("{key}=1")]).len(), 1, "{key}");
        }
    }

    #[test]
    fn each_file_gets_the_overrides_whose_sections_it_has() {
        let overrides = ["train.epochs=1", "stage.a.epochs=1", "stage.final.epochs=1", "stage.finl.epochs=1"];
        let overrides = overrides.map(Override::from);
        let mut first = Source::new("a.toml", "[stage.a.pretrain]");
        let mut second = Source::new("b.toml", "[stage.final.finetune]");
        share_out(&overrides, &mut [&mut first, &mut second]);
        assert_eq!(first.overrides, overrides[..2]);
        assert_eq!(second.overrides, [&overrides[..1], &overrides[2..]].concat());
    }
}
