//! Sections, decoded and checked one by one, each at every combination of the axes that it uses directly. References
//! between sections are checked later, in `resolve`.

use std::cell::Cell;
use std::ops::DerefMut;
use std::path::{Path, PathBuf};

use kind::{Kind, NamedPath, PathKind, Problems};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::DeValue;

use super::decode::{Decoded, decode, decode_beside};
use super::document::Section;
use super::error::{Diagnostic, Report};
use super::interpolate::Scope;
use super::sweep::{Axes, MOST_INSTANCES, Point};
use super::tree::{self, Key, Table, Value};
use super::{Span, shape};
use dataset::{DatasetSpec, LabelBudget};
use stage::StageSpec;
use train::TrainSpec;

/// A section with its decoded versions.
#[derive(Debug)]
pub(super) struct Draft<'i, T> {
    /// The name, the second part of the header.
    pub(super) name: Key<'i>,
    /// The axes that it uses directly.
    pub(super) axes: Axes,
    /// One version per combination of these axes; versions that cannot be decoded are left out.
    pub(super) versions: Vec<Version<'i, T>>,
    /// Whether it has a valid kind, so that its axes are known.
    pub(super) has_kind: bool,
}

/// A section at one combination of its axes.
#[derive(Debug)]
pub(super) struct Version<'i, T> {
    pub(super) at: Point,
    /// Its keys and values, for spans.
    pub(super) body: Value<'i>,
    pub(super) spec: T,
}

/// The spec of a data set: the kind's own keys, and those common to all kinds.
pub(super) type LabeledSpec = (DatasetSpec, LabelBudget);

/// A data set's section.
pub(super) type DatasetDraft<'i> = Draft<'i, LabeledSpec>;

/// `[train]` as written, inherited by the stages.
#[derive(Debug, Default)]
pub(super) struct Defaults<'i> {
    table: Option<Table<'i>>,
    /// The axes that it uses.
    pub(super) axes: Axes,
    /// What it says at each combination of these axes.
    pub(super) specs: Vec<TrainSpec>,
}

/// Reader of sections.
pub(super) struct Reader<'a, 'i> {
    pub(super) scope: Scope<'a, 'i>,
    /// Folder of the experiment file.
    pub(super) folder: &'a Path,
    /// The number of versions that may still be read.
    pub(super) room: Cell<usize>,
}

impl<'i> Reader<'_, 'i> {
    /// Read `[train]`. Its errors are reported once here, not again in every stage.
    pub(super) fn train(&self, section: Option<Value<'i>>, report: &mut Report) -> Defaults<'i> {
        let Some(mut section) = section else { return Defaults::default() };
        let found = tree::kind_of(&section);
        let Some(table) = tree::table_mut(&mut section) else {
            report.add(Diagnostic::at(section.span(), format!("expected a table, found {found}")));
            return Defaults::default();
        };
        shape::write_out(table);
        let axes = self.scope.mentions(&section, report);
        report.settle();
        let mut specs = Vec::new();
        for point in self.scope.sweep.product(&axes) {
            let Decoded { spec, tree, .. } = decode::<TrainSpec>(self.filled(&section, &point), report);
            let mut problems = Problems::default();
            spec.iter().for_each(|spec| spec.validate(&mut problems));
            add(problems, &tree, "", &section.span(), report);
            specs.extend(spec);
        }
        let table = match section.into_inner() {
            DeValue::Table(table) => Some(table),
            _ => None,
        };
        Defaults { table, axes, specs }
    }

    /// Read `[dataset.<name>.<kind>]`: the kind's keys and those of the label budget.
    pub(super) fn dataset(&self, section: Section<'i>, report: &mut Report) -> DatasetDraft<'i> {
        self.draft(section.name, section.content, report, |name, kind, mut body, at, report| {
            let labels = budget(&mut body, &name.span(), report);
            let Version { at, body, spec } =
                self.version(name, (kind, body), shape::label_keys(), at, report)?;
            Some(Version { at, body, spec: (spec, labels?) })
        })
    }

    /// Read `[stage.<name>.<kind>]`; a stage that trains inherits from `[train]` and the axis `seed`.
    pub(super) fn stage(
        &self,
        section: Section<'i>,
        defaults: &Defaults<'i>,
        report: &mut Report,
    ) -> Draft<'i, StageSpec> {
        let Section { name, mut content } = section;
        if let Some((kind, body)) = &mut content
            && let Some(table) = tree::table_mut(body)
        {
            shape::write_out(table);
            if shape::trains(kind.get_ref()) {
                shape::gather_train(table, defaults.table.as_ref(), name.span(), report);
                let seed = self.scope.sweep.axes().iter().find(|axis| axis.name == "seed");
                seed.into_iter().for_each(|axis| shape::sweep_seed(table, axis.span.clone()));
            }
        }
        self.draft(name, content, report, |name, kind, body, at, report| {
            self.version(name, (kind, body), &[], at, report)
        })
    }

    /// Read a section by `version` at every combination of the axes that it uses.
    fn draft<T>(
        &self,
        name: Key<'i>,
        content: Option<(Key<'i>, Value<'i>)>,
        report: &mut Report,
        version: impl Fn(&Key<'i>, &Key<'i>, Value<'i>, Point, &mut Report) -> Option<Version<'i, T>>,
    ) -> Draft<'i, T> {
        let Some((kind, body)) = content else {
            return Draft { name, axes: Axes::new(), versions: Vec::new(), has_kind: false };
        };
        let axes = self.scope.mentions(&body, report);
        report.settle();
        if !self.has_room(&name, &axes, report) {
            return Draft { name, axes, versions: Vec::new(), has_kind: true };
        }
        let points = self.scope.sweep.product(&axes).into_iter();
        let read = |at| {
            let body = self.filled(&body, &at);
            version(&name, &kind, body, at, report)
        };
        Draft { versions: points.filter_map(read).collect(), name, axes, has_kind: true }
    }

    /// Whether a section may be read at every combination of its axes; reported if not.
    fn has_room(&self, name: &Key<'i>, axes: &Axes, report: &mut Report) -> bool {
        let count = self.scope.sweep.combinations(axes);
        let left = self.room.get().checked_sub(count);
        self.room.set(left.unwrap_or(0));
        if left.is_none() {
            let message = format!(
                "with the {count} combinations of the axes of `{}`, there are more than {MOST_INSTANCES} stages and \
                 data sets, which is the limit",
                name.get_ref()
            );
            let help = "sweep over fewer values, or split the experiment".to_owned();
            report.add(Diagnostic::at(name.span(), message).with_help(help));
        }
        left.is_some()
    }

    fn filled(&self, body: &Value<'i>, at: &Point) -> Value<'i> {
        let mut body = body.clone();
        self.scope.fill(&mut body, at);
        if let Some(table) = tree::table_mut(&mut body) {
            shape::write_out(table);
            if let Some(train) = table.get_mut("train").and_then(tree::table_mut) {
                shape::write_out(train);
            }
        }
        body
    }

    /// The spec of a kind; `other_keys` are keys of the section that were read before.
    fn version<K, T>(
        &self,
        name: &Key<'i>,
        (kind, body): (&Key<'i>, Value<'i>),
        other_keys: &[&str],
        at: Point,
        report: &mut Report,
    ) -> Option<Version<'i, T>>
    where
        T: DeserializeOwned + JsonSchema + DerefMut<Target = K> + 'static,
        K: Kind + ?Sized,
    {
        let root = tree::single(kind.get_ref().clone(), body, kind.span());
        let Decoded { spec, tree, clean } = decode_beside::<T>(root, other_keys, report);
        let mut spec = spec?;
        let mut problems = Problems::default();
        spec.validate(&mut problems);
        spec.paths().into_iter().for_each(|path| locate(path, self.folder, &mut problems));
        let right = clean && problems.is_empty();
        add(problems, &tree, kind.get_ref(), &name.span(), report);
        if right {
            let mut problems = Problems::default();
            spec.validate_together(&mut problems);
            add(problems, &tree, kind.get_ref(), &name.span(), report);
        }
        let body = match tree.into_inner() {
            DeValue::Table(mut root) => root.remove(kind.get_ref().as_ref())?,
            scalar => Spanned::new(kind.span(), scalar),
        };
        Some(Version { at, body, spec })
    }
}

/// Take the label budget out of a data set's keys.
fn budget(body: &mut Value<'_>, section: &Span, report: &mut Report) -> Option<LabelBudget> {
    let table = tree::table_mut(body).map(shape::take_label_keys).unwrap_or_default();
    let keys = Spanned::new(section.clone(), DeValue::Table(table));
    let Decoded { spec, tree, .. } = decode::<LabelBudget>(keys, report);
    let mut problems = Problems::default();
    spec.iter().for_each(|spec| spec.validate(&mut problems));
    add(problems, &tree, "", section, report);
    spec
}

/// Resolve a path relative to `folder`, and report it if it does not exist.
fn locate(NamedPath { key, path, kind }: NamedPath<'_>, folder: &Path, problems: &mut Problems) {
    *path = folder.join(at_home(path));
    let shown = path.display();
    let is_relative =
        || path.is_relative().then(|| "paths are relative to the experiment file's folder".to_owned());
    match kind {
        PathKind::File if path.is_file() => {}
        PathKind::Folder if path.is_dir() => {}
        PathKind::File if path.is_dir() => {
            problems.add(key, format!("{shown} is a folder"), Some("name a file".to_owned()));
        }
        PathKind::Folder if path.is_file() => {
            problems.add(key, format!("{shown} is a file"), Some("name a folder".to_owned()));
        }
        PathKind::File => problems.add(key, format!("no such file: {shown}"), is_relative()),
        PathKind::Folder => problems.add(key, format!("no such folder: {shown}"), is_relative()),
    }
}

/// The path, with a `~` at its start replaced by the home folder.
fn at_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

/// Report problems at their values in the tree, or at the section for default values.
pub(super) fn add(problems: Problems, tree: &Value<'_>, kind: &str, section: &Span, report: &mut Report) {
    for problem in problems.into_list() {
        let path = format!("{kind}.{}", problem.path);
        let span = tree::span_at(tree, &path).unwrap_or_else(|| section.clone());
        if !report.knows(&span) {
            report.add(Diagnostic::at(span, problem.message).with_help(problem.help));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::parsed;
    use super::super::{Experiment, Source};
    use super::LabelBudget;

    const DATA: &str = "[dataset.d.phantom]\nfamily = 'cells'\n";

    fn pretrain(name: &str, keys: &str) -> String {
        format!("[stage.{name}.pretrain]\nbackbone = 'resnet18'\ndataset = 'd'\n{keys}\n")
    }

    fn errors(sections: &[&str]) -> Vec<String> {
        parsed(&format!("{DATA}{}", sections.concat())).err().unwrap_or_default()
    }

    fn ids(sections: &[&str]) -> Vec<String> {
        let experiment = parsed(&format!("{DATA}{}", sections.concat())).unwrap();
        experiment.stages.iter().map(|stage| stage.id()).collect()
    }

    #[test]
    fn errors_in_train_are_reported_once_and_not_in_every_stage() {
        let (a, b) = (pretrain("a", ""), pretrain("b", "batch_size = 8"));
        let train = "[train]\nepochs = 0\nepoch = 1\nclip_norm = 'x'\nschedule.cosine.warmup_epochs = 3\n";
        assert_eq!(
            errors(&["[sweep]\nseed = [0, 1, 2]\n", train, &a, &b]),
            [
                "`epochs` must be 1 or more, not 0",
                "unknown key `epoch`",
                "expected a number, found string \"x\"",
            ]
        );
    }

    #[test]
    fn values_of_an_axis_are_checked_where_they_are_used_each_on_its_own() {
        let stage = pretrain("a", "optimizer.sgd.lr = '${lr}'");
        assert_eq!(
            errors(&["[sweep]\nlr = [0.1, 'x', -1.0, 0]\n", &stage]),
            [
                "expected a number, found string \"x\"",
                "`lr` must be a finite number above 0, not -1",
                "`lr` must be a finite number above 0, not 0",
            ]
        );
        let negative = "expected a non-negative integer, found integer `-1`";
        assert_eq!(
            errors(&["[sweep]\nseed = [0, -1]\n", &pretrain("a", ""), &pretrain("b", "")]),
            [negative]
        );
    }

    #[test]
    fn the_axis_seed_applies_to_stages_that_train_without_their_own_seed() {
        let sweep = "[sweep]\nseed = [0, 1]\n";
        let (fixed, swept) = (pretrain("fixed", "seed = 3"), pretrain("swept", ""));
        assert_eq!(ids(&[sweep, &fixed, &swept]), ["fixed", "swept[seed=0]", "swept[seed=1]"]);
        let asked = pretrain("asked", "seed = '${seed}'");
        assert_eq!(
            ids(&[sweep, "[train]\nseed = 3\n", &swept, &asked]),
            ["swept", "asked[seed=0]", "asked[seed=1]"]
        );
    }

    #[test]
    fn a_choice_may_be_swept() {
        let stage = pretrain("a", "optimizer = '${optimizer}'\nnormalize = '${normalize}'");
        let sweep = "[sweep]\noptimizer = ['sgd', 'adam']\nnormalize = ['imagenet']\n";
        let train = "[train]\noptimizer.adamw.lr = 0.5\n";
        assert_eq!(ids(&[sweep, train, &stage]).len(), 2);
        let train = "[train]\noptimizer = '${optimizer}'\n";
        assert_eq!(ids(&["[sweep]\noptimizer = ['sgd', 'adam']\n", train, &pretrain("a", "")]).len(), 2);
    }

    #[test]
    fn a_label_budget_may_be_swept_in_a_data_set_of_any_kind() {
        let sweep = "[sweep]\nfraction = [0.05, 0.5, 1]\n";
        let text =
            format!("{sweep}{DATA}label_fraction = '${{fraction}}'\nlabel_seed = 3\n{}", pretrain("a", ""));
        let experiment = parsed(&text).unwrap();
        let budgets: Vec<_> = experiment.datasets.iter().map(|data| (data.id(), data.labels)).collect();
        let budget = |label_fraction| LabelBudget { label_fraction, label_seed: 3, ..LabelBudget::default() };
        let expected = [("0.05", 0.05), ("0.5", 0.5), ("1", 1.0)];
        assert_eq!(budgets, expected.map(|(text, f)| (format!("d[fraction={text}]"), budget(f))));
        assert_eq!(experiment.stages.len(), 3, "each uses its own data set");
        assert_eq!(parsed(DATA).unwrap().datasets[0].labels, LabelBudget::default());
    }

    #[test]
    fn errors_in_a_label_budget_are_reported_at_its_keys() {
        let data = |keys: &str| parsed(&format!("{DATA}{keys}\n")).unwrap_err();
        let must = |not: &str| format!("`label_fraction` must be above 0 and up to 1, not {not}");
        assert_eq!(data("label_fraction = 0"), [must("0")]);
        assert_eq!(
            data("label_fraction = 1.5\nsize = 3"),
            [must("1.5"), "`size` must be 8 to 4096 pixels, not 3".into()]
        );
        assert_eq!(data("label_fraction = nan"), [must("NaN")]);
        assert_eq!(
            data("label_fraction = '5 %'\nlabel_seed = -1"),
            [
                "expected a number, found string \"5 %\"",
                "expected a non-negative integer, found integer `-1`",
            ]
        );
        assert_eq!(
            data("label_count = 5\nlabel_fraction = 0.5\nval_count = 0"),
            [
                "`label_count` and `label_fraction` both say how many training images are kept",
                "`val_count` must be 1 or more, not 0",
            ]
        );
        let source = Source::new("a.toml", format!("experiment.name = 'x'\n{DATA}label_fractoin = 0.5"));
        let errors = Experiment::parse(source).unwrap_err();
        assert_eq!(errors.list[0].help.as_deref(), Some("did you mean `label_fraction`?"));
    }

    #[test]
    fn each_file_of_an_axis_must_exist_unless_the_data_folder_is_unknown() {
        let text =
            "experiment.name = 'x'\n[sweep]\nt = ['a', 'b']\n[dataset.d.medmnist]\npath = '${data}/${t}.npz'";
        let errors = |data| {
            let source = Source::new("a.toml", text);
            let errors = Experiment::parse_with(source, data).unwrap_err();
            errors.list.into_iter().map(|found| found.message).collect::<Vec<_>>()
        };
        assert_eq!(errors(Some("/none")), ["no such file: /none/a.npz", "no such file: /none/b.npz"]);
        let unset = "`${data}` has no value: the environment variable MEDMERGE_DATA is not set";
        assert_eq!(errors(None), [unset]);
    }
}
