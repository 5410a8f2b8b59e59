//! `[figure.<name>.<kind>]`: decode figures and check the names in them.

use indexmap::IndexMap;

use super::TableSpec;
use super::decode::{Decoded, decode};
use super::draft::Draft;
use super::error::{Diagnostic, Report};
use super::figure_spec::{FigureSpec, Named, STAGE};
use super::sweep::Sweep;
use super::table_statistics::has_interval;
use super::tables::{Checked, check_file, kinds};
use super::tree::{self, Key, Value};
use stage::StageSpec;

/// Decode every figure and check its names; a figure must not have the name of a table, because both are file names.
pub(super) fn read<'i>(
    sections: Vec<(Key<'i>, Value<'i>)>,
    stages: &[Draft<'i, StageSpec>],
    sweep: &Sweep<'i>,
    tables: &IndexMap<String, TableSpec>,
    report: &mut Report,
) -> IndexMap<String, FigureSpec> {
    let kinds = kinds(stages);
    let mut figures = IndexMap::new();
    for (name, section) in sections {
        check_name(&name, tables, report);
        if !has_kind(&name, &section, report) {
            continue;
        }
        let Decoded { spec, tree, .. } = decode::<FigureSpec>(section, report);
        let Some(spec) = spec else { continue };
        let checked = Checked { name: &name, tree: &tree, kinds: &kinds, stages, sweep };
        Figure { checked, spec: &spec, tables }.check(report);
        figures.insert(name.into_inner().into_owned(), spec);
    }
    figures
}

/// Whether a section has the form `[figure.<name>.<kind>]`; the keys of `layers` used to stand right in the section.
fn has_kind(name: &Key<'_>, section: &Value<'_>, report: &mut Report) -> bool {
    let found = tree::kind_of(section);
    let Some(table) = section.get_ref().as_table() else {
        report.add(Diagnostic::at(section.span(), format!("expected a table, found {found}")));
        return false;
    };
    let is_kind = |key: &str| FigureSpec::KINDS.contains(&key);
    match table.keys().find(|key| !is_kind(key.get_ref())) {
        None if table.len() == 1 => true,
        found => {
            let name = name.get_ref();
            let kinds = FigureSpec::KINDS.join("`, `");
            let help = format!("write `[figure.{name}.layers]`, or another kind: `{kinds}`");
            let (span, message) = match found {
                Some(key) => (key.span(), format!("`{}` is not a kind of figure", key.get_ref())),
                None => (section.span(), format!("the figure `{name}` needs one kind")),
            };
            report.add(Diagnostic::at(span, message).with_help(help));
            false
        }
    }
}

/// A figure whose names are checked.
struct Figure<'a, 'i> {
    checked: Checked<'a, 'i>,
    spec: &'a FigureSpec,
    tables: &'a IndexMap<String, TableSpec>,
}

impl Figure<'_, '_> {
    fn check(&self, report: &mut Report) {
        let spec = self.spec;
        for (i, stage) in spec.from().iter().enumerate() {
            self.checked.stage(&self.path(&format!("from.{i}")), stage, spec.shows().of_stages(), report);
        }
        if spec.from().is_empty() && spec.table().is_none() {
            self.add("from", "`from` is empty".to_owned(), None, report);
        }
        for (key, named, name) in spec.names() {
            self.named(&key, named, name, report);
        }
        if spec.pdf() && !cfg!(feature = "pdf") {
            let message = "this program was built without the feature `pdf`, which writes figures as PDF";
            let help = "build it with `cargo build --release --features pdf`, use a package, or remove `pdf`";
            self.add("pdf", message.to_owned(), Some(help.to_owned()), report);
        }
        if let Some((key, message, help)) = spec.conflict() {
            self.add(key, message, Some(help), report);
        }
    }

    fn named(&self, key: &str, named: Named, name: &str, report: &mut Report) {
        let sweep = self.checked.sweep;
        let axes = sweep.names();
        let fields: Vec<&str> = std::iter::once(STAGE).chain(axes.iter().copied()).collect();
        let tables: Vec<&str> = self.tables.keys().map(String::as_str).collect();
        let mut one_of = |what: &str, known: &[&str]| {
            self.checked.one_of(&self.path(key), what, name, known, report);
        };
        match named {
            Named::Axis | Named::NumberAxis | Named::PositiveAxis => one_of("axis", &axes),
            Named::Field => one_of("field", &fields),
            Named::Metric => one_of("metric", metric::NAMES),
            Named::Table => one_of("table", &tables),
            Named::Model | Named::Dataset => {
                let (what, field) =
                    if named == Named::Model { ("row", "model") } else { ("data set", "dataset") };
                let of_stage = |stage: &String| self.checked.rows_of(stage, field);
                let of_stages: Option<Vec<_>> = self.spec.from().iter().map(of_stage).collect();
                // Without them, a stage is wrong, which has been reported.
                if let Some(known) = of_stages.map(|rows| rows.concat()) {
                    one_of(what, &known.iter().map(String::as_str).collect::<Vec<_>>());
                }
            }
        }
        match named {
            Named::NumberAxis => self.numbers(key, name, |number| number.is_finite(), "numbers", report),
            Named::PositiveAxis => {
                let is_positive = |number: f64| number.is_finite() && number > 0.0;
                self.numbers(key, name, is_positive, "positive numbers", report);
            }
            Named::Table => self.compares(key, name, report),
            _ => {}
        }
    }

    /// Check that the values of an axis are such numbers.
    fn numbers(&self, key: &str, axis: &str, fits: fn(f64) -> bool, what: &str, report: &mut Report) {
        let Some(position) = self.checked.sweep.position(axis) else { return };
        let texts = self.checked.sweep.texts(position);
        if let Some(other) = texts.iter().find(|text| !text.parse().is_ok_and(fits)) {
            let message = format!("the values of the axis `{axis}` must be {what}, not `{other}`");
            self.add(key, message, Some("name another axis".to_owned()), report);
        }
    }

    /// Check that a table has differences with intervals.
    fn compares(&self, key: &str, table: &str, report: &mut Report) {
        let Some(spec) = self.tables.get(table) else { return };
        if !spec.compare.as_ref().is_some_and(has_interval) {
            let message = format!("the table `{table}` has no differences with intervals");
            let help = "give it a `compare` with the test `random_effects`, `paired_bootstrap` or `t_test`"
                .to_owned();
            self.add(key, message, Some(help), report);
        }
    }

    fn add(&self, key: &str, message: String, help: Option<String>, report: &mut Report) {
        self.checked.add(&self.path(key), message, help, report);
    }

    /// The path of a key from the section, which has the kind.
    fn path(&self, key: &str) -> String {
        format!("{}.{key}", self.spec.kind())
    }
}

/// Figures are in the same folder as tables and scores.
fn check_name(name: &Key<'_>, tables: &IndexMap<String, TableSpec>, report: &mut Report) {
    check_file(name, report);
    if tables.contains_key(name.get_ref().as_ref()) {
        let message = format!("the name `{}` is already used by a table", name.get_ref());
        let help = "choose another name, which is a file name in the results".to_owned();
        report.add(Diagnostic::at(name.span(), message).with_help(help));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::parsed;
    use super::*;

    const STAGES: &str = "[dataset.d.phantom]\nfamily = '${target}'\n\
        [stage.a.pretrain]\nbackbone = 'resnet18'\ndataset = 'd'\n\
        [stage.b.pretrain]\nbackbone = 'resnet18'\ndataset = 'd'\n\
        [stage.w.learn_merge_weights]\nsources = ['a', 'b']\ndataset = 'd'\n\
        [stage.scores.evaluate]\nmodels.A = 'a'\ndatasets = ['d']\n\
        [table.t]\nfrom = ['scores']\nmetrics = ['accuracy']\nover = 'target'\n";

    fn errors(axis: &str, figure: &str) -> Vec<String> {
        let sweep = format!("[sweep]\ntarget = ['fundus', 'xray']\n{axis}\n");
        parsed(&format!("{sweep}{STAGES}{figure}")).err().unwrap_or_default()
    }

    #[test]
    fn a_valid_figure_is_read() {
        let figure = "[figure.f.layers]\nfrom = ['w']\ncolumns = 'target'\nkernels = true";
        let text = format!("[sweep]\ntarget = ['fundus', 'xray']\n{STAGES}{figure}");
        let experiment = parsed(&text).unwrap();
        let FigureSpec::Layers(figure) = &experiment.figures["f"] else { panic!("a figure of layers") };
        assert_eq!((figure.columns.as_deref(), figure.over.as_str()), (Some("target"), "seed"));
        assert!(figure.kernels);
        for right in ["", "columns = 'stage'", "over = 'target'", "columns = 'stage'\nover = 'target'"] {
            assert_eq!(errors("", &format!("[figure.f.layers]\nfrom = ['w']\n{right}")), [""; 0], "{right}");
        }
    }

    #[test]
    fn every_wrong_name_is_reported() {
        let figure = "[figure.f.layers]\nfrom = ['ww', 'scores']\ncolumns = 'targets'\nover = 'x'\n\
            [figure.g.layers]\nfrom = []\ncolumns = 'target'\nover = 'target'\nrows = 'target'\n\
            [figure.t.layers]\nfrom = ['w']\n[figure.metrics.layers]\nfrom = ['w']\n[figure.h.layers]\n";
        assert_eq!(
            errors("", figure),
            [
                "unknown stage `ww`",
                "stage `scores` is an `evaluate`, which has no merge weights",
                "unknown field `targets`",
                "unknown axis `x`",
                "`from` is empty",
                "`columns` and `over` both name `target`",
                "unknown key `rows`",
                "the name `t` is already used by a table",
                "metrics.csv is the file of scores",
                "missing key `from`",
            ]
        );
    }

    #[test]
    fn the_names_of_every_kind_are_checked() {
        let scores = "from = ['scores']";
        let wrong = [
            ("confusion", format!("{scores}\nmodels = ['B']\ndatasets = ['d', 'e']")),
            ("roc", "from = ['w']".to_owned()),
            ("curves", "from = ['w', 'a', 'scores']".to_owned()),
            ("forest", "table = 't'".to_owned()),
            ("forest", "table = 'u'".to_owned()),
            ("budget", format!("{scores}\nx = 'target'\nmetric = 'f1'")),
            ("budget", format!("{scores}\nx = 'share'\nmetric = 'accuracy'\nlog = true")),
            ("barrier", format!("{scores}\nx = 'shares'\nends = ['A', 'B']")),
        ];
        let sections = wrong.iter().enumerate();
        let sections = sections.map(|(i, (kind, keys))| format!("[figure.f{i}.{kind}]\n{keys}\n"));
        let stage = "[stage.c.pretrain]\nbackbone = 'resnet18'\ndataset = 'd'\nseed = '${share}'\n";
        let text = format!("{stage}{}", sections.collect::<String>());
        assert_eq!(
            errors("share = [0, 1]", &text),
            [
                "unknown row `B`",
                "unknown data set `e`",
                "stage `w` is a `learn_merge_weights`, which has no predictions",
                "stage `scores` is an `evaluate`, which has no epochs",
                "the table `t` has no differences with intervals",
                "unknown table `u`",
                "the values of the axis `target` must be numbers, not `fundus`",
                "unknown metric `f1`",
                "the values of the axis `share` must be positive numbers, not `0`",
                "unknown axis `shares`",
                "unknown row `B`",
            ]
        );
    }

    #[test]
    fn a_figure_has_one_kind() {
        let wrong = "[figure.f]\nfrom = ['w']\n[figure.g]\n[figure.h]\nlayers.from = ['w']\nroc.from = ['scores']\n\
            [figure.i.layer]\nfrom = ['w']\n";
        assert_eq!(
            errors("", wrong),
            [
                "`from` is not a kind of figure",
                "the figure `g` needs one kind",
                "the figure `h` needs one kind",
                "`layer` is not a kind of figure",
            ]
        );
    }

    #[test]
    fn f06_an_axis_may_have_the_name_of_a_column() {
        let figure = "[stage.c.pretrain]\nbackbone = 'resnet18'\ndataset = 'd'\nseed = '${depth}'\n\
            [figure.f.layers]\nfrom = ['w']\n";
        assert_eq!(errors("depth = [1, 2]", figure), [""; 0]);
    }
}
