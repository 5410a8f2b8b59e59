//! `[table.<name>]`: decode tables and check the names in them.

use indexmap::{IndexMap, IndexSet};

use super::TableSpec;
use super::decode::{Decoded, decode};
use super::draft::Draft;
use super::error::{Diagnostic, Report};
use super::sweep::Sweep;
use super::table_spec::{BEST, CompareSpec};
use super::tree::{self, Key, Value};
use kind::suggest;
use kind::{Kind, Problems};
use stage::StageSpec;

/// Fields for rows and columns, in addition to the axes.
const FIELDS: [&str; 3] = ["model", "dataset", "metric"];

/// The kind of each stage; `None` if it could not be read.
pub(super) type Kinds<'a> = IndexMap<&'a str, Option<&'static str>>;

/// A table's keys, for error locations.
pub(super) struct Checked<'a, 'i> {
    pub(super) name: &'a Key<'i>,
    pub(super) tree: &'a Value<'i>,
    pub(super) kinds: &'a Kinds<'a>,
    pub(super) stages: &'a [Draft<'i, StageSpec>],
    pub(super) sweep: &'a Sweep<'i>,
}

/// Decode every table and check its names.
pub(super) fn read<'i>(
    sections: Vec<(Key<'i>, Value<'i>)>,
    stages: &[Draft<'i, StageSpec>],
    sweep: &Sweep<'i>,
    report: &mut Report,
) -> IndexMap<String, TableSpec> {
    let kinds = kinds(stages);
    let mut tables = IndexMap::new();
    for (name, section) in sections {
        let found = tree::kind_of(&section);
        if !section.get_ref().is_table() {
            let diagnostic = Diagnostic::at(section.span(), format!("expected a table, found {found}"));
            report.add(diagnostic.with_help("a table has a name: write `[table.<name>]`".to_owned()));
            continue;
        }
        check_file(&name, report);
        let Decoded { spec, tree, .. } = decode::<TableSpec>(section, report);
        let Some(spec) = spec else { continue };
        Checked { name: &name, tree: &tree, kinds: &kinds, stages, sweep }.check(&spec, report);
        tables.insert(name.into_inner().into_owned(), spec);
    }
    tables
}

/// Report the name of the file of scores, which is in the same folder.
pub(super) fn check_file(name: &Key<'_>, report: &mut Report) {
    if name.get_ref().eq_ignore_ascii_case("metrics") {
        let help = "choose another name, which is a file name in the results".to_owned();
        report.add(Diagnostic::at(name.span(), "metrics.csv is the file of scores").with_help(help));
    }
}

/// The kind of each stage, by name.
pub(super) fn kinds<'a>(stages: &'a [Draft<'_, StageSpec>]) -> Kinds<'a> {
    let kind = |draft: &Draft<'_, StageSpec>| draft.versions.first().map(|version| version.spec.kind());
    stages.iter().map(|draft| (draft.name.get_ref().as_ref(), kind(draft))).collect()
}

impl Checked<'_, '_> {
    fn check(&self, spec: &TableSpec, report: &mut Report) {
        for (i, stage) in spec.from.iter().enumerate() {
            self.stage(&format!("from.{i}"), stage, (&["evaluate"], "scores"), report);
        }
        for (i, metric) in spec.metrics.iter().enumerate() {
            self.one_of(&format!("metrics.{i}"), "metric", metric, metric::NAMES, report);
        }
        let fields: Vec<&str> = FIELDS.into_iter().chain(self.sweep.names()).collect();
        self.one_of("rows", "field", &spec.rows, &fields, report);
        for (i, column) in spec.columns.iter().enumerate() {
            self.one_of(&format!("columns.{i}"), "field", column, &fields, report);
        }
        self.over(spec, &fields, report);
        for (key, names) in [("from", &spec.from), ("metrics", &spec.metrics)] {
            if names.is_empty() {
                self.add(key, format!("`{key}` is empty"), None, report);
            }
        }
        self.metrics_apart(spec, report);
        let mut problems = Problems::default();
        spec.validate(&mut problems);
        for found in problems.into_list() {
            self.add(&found.path, found.message, found.help, report);
        }
        self.statistics(spec, report);
        self.labeled(spec, &fields, report);
        self.in_percent(spec, report);
        if let Some(compare) = &spec.compare {
            self.compared(spec, compare, report);
        }
    }

    /// Check that each label is for something in the table.
    fn labeled(&self, spec: &TableSpec, fields: &[&str], report: &mut Report) {
        let of_stages = |field: &str| -> Option<Vec<String>> {
            let of_each: Option<Vec<_>> = spec.from.iter().map(|stage| self.rows_of(stage, field)).collect();
            Some(of_each?.concat())
        };
        let (Some(models), Some(datasets)) = (of_stages("model"), of_stages("dataset")) else { return };
        let values = (0..self.sweep.axes().len()).flat_map(|axis| self.sweep.texts(axis));
        let names: IndexSet<String> = models.into_iter().chain(datasets).chain(values).collect();
        let given = [&spec.rows].into_iter().chain(spec.over.axes()).chain(&spec.metrics).chain(&names);
        let known: Vec<&str> = fields.iter().copied().chain(given.map(String::as_str)).collect();
        for name in spec.labels.keys() {
            self.one_of(&format!("labels.{name}"), "name", name, &known, report);
        }
    }

    /// Only fractions are shown in percent.
    fn in_percent(&self, spec: &TableSpec, report: &mut Report) {
        let named = spec.metrics.iter().filter_map(|name| metric::by_name(name));
        for metric in named.filter(|metric| spec.percent && !metric.is_fraction) {
            let message = format!("`percent` cannot show `{}`, which is not a fraction", metric.name);
            self.add("percent", message, Some("show it in a table of its own".into()), report);
        }
    }

    /// Check that the reference row exists.
    fn compared(&self, spec: &TableSpec, compare: &CompareSpec, report: &mut Report) {
        let Some(rows) = self.rows(spec) else { return };
        let rows = || rows.iter().map(String::as_str);
        let (named, known): (Vec<&str>, Vec<&str>) = (rows().collect(), rows().chain([BEST]).collect());
        self.one_of("compare.to", "row", &compare.to, &known, report);
        for (key, listed) in [("among", &compare.among), ("rows", &compare.rows)] {
            for (i, row) in listed.iter().enumerate() {
                self.one_of(&format!("compare.{key}.{i}"), "row", row, &named, report);
            }
        }
        if compare.to == BEST && named.contains(&BEST) {
            let message =
                format!("`to = \"{BEST}\"` is the best row of a column, but a row is called `{BEST}`, too");
            self.add("compare.to", message, Some("give that row another label".into()), report);
        }
        if !compare.rows.is_empty() && compare.rows.iter().all(|row| *row == compare.to) {
            let message = format!("`rows` names only `{}`, which is what rows are compared with", compare.to);
            self.add("compare.rows", message, Some("name other rows, or remove `rows`".into()), report);
        }
        if compare.to != BEST && !compare.among.is_empty() {
            let message = format!("`among` lists candidates for the best row, but `to` is `{}`", compare.to);
            self.add("compare.among", message, Some("set `to = \"best\"`, or remove `among`".into()), report);
        }
    }

    /// The labels of the rows; `None` if they cannot be determined because of other errors.
    fn rows(&self, spec: &TableSpec) -> Option<IndexSet<String>> {
        match spec.rows.as_str() {
            "metric" => None,
            "model" | "dataset" => spec.from.iter().try_fold(IndexSet::new(), |mut rows, stage| {
                rows.extend(self.rows_of(stage, &spec.rows)?);
                Some(rows)
            }),
            axis => Some(self.sweep.texts(self.sweep.position(axis)?).into_iter().collect()),
        }
    }

    /// The models or data sets of an `evaluate` stage.
    pub(super) fn rows_of(&self, stage: &str, field: &str) -> Option<Vec<String>> {
        let draft = self.stages.iter().find(|draft| draft.name.get_ref() == stage)?;
        let mut rows = Vec::new();
        for version in &draft.versions {
            let StageSpec::Evaluate(evaluate) = &version.spec else { return None };
            match field {
                "model" => rows.extend(evaluate.models.keys().chain(evaluate.ensembles.keys()).cloned()),
                _ => rows.extend(evaluate.datasets.iter().cloned()),
            }
        }
        Some(rows).filter(|rows| !rows.is_empty())
    }

    /// Scores of several metrics cannot share a cell.
    fn metrics_apart(&self, spec: &TableSpec, report: &mut Report) {
        let mut fields = spec.columns.iter().chain([&spec.rows]).chain(spec.over.axes());
        if spec.metrics.len() > 1 && fields.all(|field| field != "metric") {
            let message = "several metrics would share a cell".to_owned();
            let help =
                "add \"metric\" to `columns`, set `rows` to it, or make one table per metric".to_owned();
            self.add("metrics", message, Some(help), report);
        }
    }

    /// Check that the name is a stage of a wanted kind.
    pub(super) fn stage(
        &self,
        path: &str,
        name: &str,
        (wanted, shown): (&[&'static str], &str),
        report: &mut Report,
    ) {
        match self.kinds.get(name) {
            // a stage that could not be read may be of the right kind
            Some(None) => {}
            Some(Some(kind)) if wanted.contains(kind) => {}
            Some(Some(kind)) => {
                let message = format!("stage `{name}` is {} `{kind}`, which has no {shown}", article(kind));
                let help = format!("name {} `{}` stage", article(wanted[0]), wanted.join("`, `"));
                self.add(path, message, Some(help), report);
            }
            None => {
                let right =
                    self.kinds.iter().filter(|(_, kind)| kind.is_some_and(|kind| wanted.contains(&kind)));
                let names: Vec<&str> = right.map(|(name, _)| *name).collect();
                self.one_of(path, "stage", name, &names, report);
            }
        }
    }

    pub(super) fn one_of(&self, path: &str, what: &str, word: &str, known: &[&str], report: &mut Report) {
        if !known.contains(&word) {
            let help = if report.is_full() { None } else { suggest::help(word, known) };
            self.add(path, format!("unknown {what} `{word}`"), help, report);
        }
    }

    pub(super) fn add(&self, path: &str, message: String, help: Option<String>, report: &mut Report) {
        let span = tree::span_at(self.tree, path).unwrap_or_else(|| self.name.span());
        report.add(Diagnostic::at(span, message).with_help(help));
    }
}

/// The indefinite article of a kind of stage.
fn article(kind: &str) -> &'static str {
    if kind.starts_with(['e', 'i']) { "an" } else { "a" }
}

#[cfg(test)]
mod tests {
    use super::super::testing::parsed;

    const STAGES: &str = "[sweep]\ntarget = ['fundus', 'xray']\n[dataset.d.phantom]\nfamily = '${target}'\n\
        [stage.a.pretrain]\nbackbone = 'resnet18'\ndataset = 'd'\n\
        [stage.scores.evaluate]\nmodels.A = 'a'\ndatasets = ['d']\n[table.t]\n";

    #[test]
    fn a_valid_table_is_read() {
        let table =
            "from = ['scores']\nmetrics = ['macro_f1']\ncolumns = ['target', 'metric']\nover = 'target'";
        let experiment = parsed(&format!("{STAGES}{table}")).unwrap();
        assert_eq!(experiment.tables["t"].columns, ["target", "metric"]);
        assert!(
            parsed(&format!("{STAGES}from = ['scores']\nmetrics = ['accuracy']\nover = 'target'")).is_ok()
        );
    }

    #[test]
    fn an_ensemble_is_a_row_to_compare_with() {
        let both = "models.A = 'a'\nmodels.C = 'c'\nensembles.both = { models = ['a', 'c'] }";
        let stages = STAGES.replace("models.A = 'a'", both).replace(
            "[stage.scores",
            "[stage.c.pretrain]\nbackbone = 'resnet18'\ndataset = 'd'\nseed = 1\n[stage.scores",
        );
        for compare in
            ["{ to = 'both' }", "{ to = 'best', among = ['A', 'both'] }", "{ to = 'A', rows = ['both'] }"]
        {
            let table =
                format!("from = ['scores']\nmetrics = ['accuracy']\nover = 'target'\ncompare = {compare}");
            assert!(parsed(&format!("{stages}{table}")).is_ok(), "{compare}");
        }
    }

    #[test]
    fn a_comparison_compares_something_and_best_is_no_row() {
        let two = "models.A = 'a'\nmodels.best = 'c'\nmodels.C = 'c'";
        let stages = STAGES.replace("models.A = 'a'", two).replace(
            "[stage.scores",
            "[stage.c.pretrain]\nbackbone = 'resnet18'\ndataset = 'd'\nseed = 1\n[stage.scores",
        );
        let errors = |compare: &str| {
            let table =
                format!("from = ['scores']\nmetrics = ['accuracy']\nover = 'target'\ncompare = {compare}");
            parsed(&format!("{stages}{table}")).map(drop).unwrap_err()
        };
        let is_row = "`to = \"best\"` is the best row of a column, but a row is called `best`, too";
        assert_eq!(errors("{ to = 'best' }"), [is_row]);
        let nothing = "`rows` names only `A`, which is what rows are compared with";
        assert_eq!(errors("{ to = 'A', rows = ['A'] }"), [nothing]);
        let unnamed = STAGES.replace("models.A", "models.''").replace("[table.t]", "");
        assert_eq!(parsed(&unnamed).map(drop).unwrap_err(), ["a row label is empty"]);
    }

    #[test]
    fn several_metrics_need_separate_cells() {
        let table = |rest: &str| {
            parsed(&format!("{STAGES}from = ['scores']\nmetrics = ['accuracy', 'auroc']\n{rest}")).map(drop)
        };
        assert_eq!(table("columns = ['target']").unwrap_err(), ["several metrics would share a cell"]);
        for right in [
            "over = 'target'",
            "columns = ['target', 'metric']",
            "rows = 'metric'\ncolumns = ['target', 'model']",
        ] {
            assert_eq!(table(right), Ok(()), "{right}");
        }
    }

    fn table(rest: &str) -> Result<(), Vec<String>> {
        let over = if rest.contains("'target'") { "" } else { "over = 'target'\n" };
        let text = format!("{STAGES}from = ['scores']\nmetrics = ['accuracy']\n{over}{rest}");
        parsed(&text).map(drop)
    }

    #[test]
    fn the_reference_row_of_a_comparison_must_exist() {
        for right in [
            "compare.to = 'A'",
            "compare.to = 'best'",
            "rows = 'target'\ncompare = { to = 'xray', test = 't_test', correction = 'none', alpha = 0.01 }",
            "rows = 'dataset'\ncompare = { to = 'd', test = 'wilcoxon' }",
            "interval = 'bootstrap'\nconfidence = 0.9\nresamples = 100\nrank = true",
            "compare.to = 'A'\nresamples = 500\nconfidence = 0.9",
            "compare = { to = 'best', among = ['A'] }",
        ] {
            assert_eq!(table(right), Ok(()), "{right}");
        }
        assert_eq!(table("compare.to = 'B'").unwrap_err(), ["unknown row `B`"]);
        assert_eq!(table("rows = 'target'\ncompare.to = 'A'").unwrap_err(), ["unknown row `A`"]);
        assert_eq!(table("compare = {}").unwrap_err(), ["missing key `to`"]);
        assert_eq!(table("compare = { to = 'best', among = ['B'] }").unwrap_err(), ["unknown row `B`"]);
        let idle = "`among` lists candidates for the best row, but `to` is `A`";
        assert_eq!(table("compare = { to = 'A', among = ['A'] }").unwrap_err(), [idle]);
        let mixed = "`compare` cannot compare scores of different metrics: `rows` is \"metric\"";
        assert_eq!(table("rows = 'metric'\ncolumns = ['model']\ncompare.to = 'A'").unwrap_err(), [mixed]);
        let mixed = "`rank` cannot compare scores of different metrics: `over` is \"metric\"";
        assert_eq!(table("columns = ['target']\nover = 'metric'\nrank = true").unwrap_err(), [mixed]);
    }

    #[test]
    fn every_wrong_name_is_reported() {
        let table = "from = ['score', 'a']\nmetrics = ['f1', 'macrof1']\nrows = 'modl'\ncolumns = ['targets']\nover = 'x'";
        assert_eq!(
            parsed(&format!("{STAGES}{table}")).unwrap_err(),
            [
                "unknown stage `score`",
                "stage `a` is a `pretrain`, which has no scores",
                "several metrics would share a cell",
                "unknown metric `f1`",
                "unknown metric `macrof1`",
                "unknown field `modl`",
                "unknown field `targets`",
                "unknown field `x`",
            ]
        );
        let empty = parsed(&format!("{STAGES}from = []\nmetrics = []"));
        assert_eq!(empty.unwrap_err(), ["`from` is empty", "`metrics` is empty"]);
    }
}
