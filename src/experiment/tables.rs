//! `[table.<name>]`: decoded, and the names in it checked.

use indexmap::IndexMap;

use super::decode::{Decoded, decode};
use super::draft::Draft;
use super::error::{Diagnostic, Report};
use super::suggest;
use super::sweep::Sweep;
use super::tree::{self, Key, Value};
use crate::metric;
use crate::stage::StageSpec;
use crate::table::TableSpec;

/// What rows and columns may be, beside the axes.
const FIELDS: [&str; 3] = ["model", "dataset", "metric"];

/// The kind of each stage; `None` if it could not be read.
pub(super) type Kinds<'a> = IndexMap<&'a str, Option<&'static str>>;

/// A table's keys and where to report what is wrong with them.
pub(super) struct Checked<'a, 'i> {
    pub(super) name: &'a Key<'i>,
    pub(super) tree: &'a Value<'i>,
    pub(super) kinds: &'a Kinds<'a>,
}

/// Decode every table and check its names.
pub(super) fn read(
    sections: Vec<(Key<'_>, Value<'_>)>,
    stages: &[Draft<'_, StageSpec>],
    sweep: &Sweep<'_>,
    report: &mut Report,
) -> IndexMap<String, TableSpec> {
    let kinds = kinds(stages);
    let mut tables = IndexMap::new();
    for (name, section) in sections {
        let found = tree::kind_of(&section);
        if !section.get_ref().is_table() {
            report.add(Diagnostic::at(section.span(), format!("expected a table, found {found}")));
            continue;
        }
        let Decoded { spec, tree, .. } = decode::<TableSpec>(section, report);
        let Some(spec) = spec else { continue };
        Checked { name: &name, tree: &tree, kinds: &kinds }.check(&spec, sweep, report);
        tables.insert(name.into_inner().into_owned(), spec);
    }
    tables
}

/// The kind of each stage by its name.
pub(super) fn kinds<'a>(stages: &'a [Draft<'_, StageSpec>]) -> Kinds<'a> {
    let kind = |draft: &Draft<'_, StageSpec>| draft.versions.first().map(|version| version.spec.kind());
    stages.iter().map(|draft| (draft.name.get_ref().as_ref(), kind(draft))).collect()
}

impl Checked<'_, '_> {
    fn check(&self, spec: &TableSpec, sweep: &Sweep<'_>, report: &mut Report) {
        for (i, stage) in spec.from.iter().enumerate() {
            self.stage(&format!("from.{i}"), stage, ("evaluate", "scores"), report);
        }
        for (i, metric) in spec.metrics.iter().enumerate() {
            self.one_of(&format!("metrics.{i}"), "metric", metric, metric::NAMES, report);
        }
        let fields: Vec<&str> = FIELDS.into_iter().chain(sweep.names()).collect();
        self.one_of("rows", "field", &spec.rows, &fields, report);
        for (i, column) in spec.columns.iter().enumerate() {
            self.one_of(&format!("columns.{i}"), "field", column, &fields, report);
        }
        // `over` is `seed` unless named, with or without such an axis
        if spec.over != "seed" {
            self.one_of("over", "field", &spec.over, &fields, report);
        }
        for (key, names) in [("from", &spec.from), ("metrics", &spec.metrics)] {
            if names.is_empty() {
                self.add(key, format!("`{key}` names nothing to show"), None, report);
            }
        }
        self.metrics_apart(spec, report);
    }

    /// Scores of several metrics cannot share a cell.
    fn metrics_apart(&self, spec: &TableSpec, report: &mut Report) {
        let mut fields = spec.columns.iter().chain([&spec.rows, &spec.over]);
        if spec.metrics.len() > 1 && fields.all(|field| field != "metric") {
            let message = "several metrics would fall into one cell".to_owned();
            let help = "add \"metric\" to `columns`, make it `rows`, or make a table for each".to_owned();
            self.add("metrics", message, Some(help), report);
        }
    }

    /// The name must be one of a stage of a kind, which alone has what is to be shown.
    pub(super) fn stage(
        &self,
        path: &str,
        name: &str,
        (wanted, shown): (&'static str, &str),
        report: &mut Report,
    ) {
        match self.kinds.get(name) {
            // a stage that could not be read may well be one
            Some(None) => {}
            Some(Some(kind)) if *kind == wanted => {}
            Some(Some(kind)) => {
                let message = format!("stage `{name}` is {} `{kind}`, which has no {shown}", article(kind));
                let help = format!("name {} `{wanted}` stage", article(wanted));
                self.add(path, message, Some(help), report);
            }
            None => {
                let right = self.kinds.iter().filter(|(_, kind)| **kind == Some(wanted));
                let names: Vec<&str> = right.map(|(name, _)| *name).collect();
                self.one_of(path, "stage", name, &names, report);
            }
        }
    }

    pub(super) fn one_of(&self, path: &str, what: &str, word: &str, known: &[&str], report: &mut Report) {
        if !known.contains(&word) {
            self.add(path, format!("unknown {what} `{word}`"), suggest::help(word, known), report);
        }
    }

    pub(super) fn add(&self, path: &str, message: String, help: Option<String>, report: &mut Report) {
        let span = tree::span_at(self.tree, path).unwrap_or_else(|| self.name.span());
        report.add(Diagnostic::at(span, message).with_help(help));
    }
}

/// Of a kind of stage.
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
    fn a_right_table_is_read() {
        let table =
            "from = ['scores']\nmetrics = ['macro_f1']\ncolumns = ['target', 'metric']\nover = 'target'";
        let experiment = parsed(&format!("{STAGES}{table}")).unwrap();
        assert_eq!(experiment.tables["t"].columns, ["target", "metric"]);
        assert!(parsed(&format!("{STAGES}from = ['scores']\nmetrics = ['accuracy']")).is_ok());
    }

    #[test]
    fn several_metrics_need_a_place_of_their_own() {
        let table = |rest: &str| {
            parsed(&format!("{STAGES}from = ['scores']\nmetrics = ['accuracy', 'auroc']\n{rest}")).map(drop)
        };
        assert_eq!(table("columns = ['target']").unwrap_err(), ["several metrics would fall into one cell"]);
        for right in ["", "columns = ['target', 'metric']", "rows = 'metric'\ncolumns = ['model']"] {
            assert_eq!(table(right), Ok(()), "{right}");
        }
    }

    #[test]
    fn every_wrong_name_is_reported() {
        let table = "from = ['score', 'a']\nmetrics = ['f1', 'macrof1']\nrows = 'modl'\ncolumns = ['targets']\nover = 'x'";
        assert_eq!(
            parsed(&format!("{STAGES}{table}")).unwrap_err(),
            [
                "unknown stage `score`",
                "stage `a` is a `pretrain`, which has no scores",
                "several metrics would fall into one cell",
                "unknown metric `f1`",
                "unknown metric `macrof1`",
                "unknown field `modl`",
                "unknown field `targets`",
                "unknown field `x`",
            ]
        );
        let empty = parsed(&format!("{STAGES}from = []\nmetrics = []"));
        assert_eq!(empty.unwrap_err(), ["`from` names nothing to show", "`metrics` names nothing to show"]);
    }
}
