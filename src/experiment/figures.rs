//! `[figure.<name>]`: decode figures and check the names in them.

use indexmap::IndexMap;

use super::TableSpec;
use super::decode::{Decoded, decode};
use super::draft::Draft;
use super::error::{Diagnostic, Report};
use super::figure_spec::{FigureSpec, STAGE};
use super::sweep::Sweep;
use super::tables::{Checked, check_file, kinds};
use super::tree::{self, Key, Value};
use stage::StageSpec;

/// Decode every figure and check its names; a figure must not have the name of a table, because both are file names.
pub(super) fn read(
    sections: Vec<(Key<'_>, Value<'_>)>,
    stages: &[Draft<'_, StageSpec>],
    sweep: &Sweep<'_>,
    tables: &IndexMap<String, TableSpec>,
    report: &mut Report,
) -> IndexMap<String, FigureSpec> {
    let kinds = kinds(stages);
    let mut figures = IndexMap::new();
    for (name, section) in sections {
        let found = tree::kind_of(&section);
        if !section.get_ref().is_table() {
            report.add(Diagnostic::at(section.span(), format!("expected a table, found {found}")));
            continue;
        }
        check_name(&name, tables, report);
        let Decoded { spec, tree, .. } = decode::<FigureSpec>(section, report);
        let Some(spec) = spec else { continue };
        check(&Checked { name: &name, tree: &tree, kinds: &kinds, stages, sweep }, &spec, sweep, report);
        figures.insert(name.into_inner().into_owned(), spec);
    }
    figures
}

fn check(figure: &Checked<'_, '_>, spec: &FigureSpec, sweep: &Sweep<'_>, report: &mut Report) {
    for (i, stage) in spec.from.iter().enumerate() {
        figure.stage(&format!("from.{i}"), stage, ("learn_merge_weights", "merge weights"), report);
    }
    if spec.from.is_empty() {
        figure.add("from", "`from` is empty".to_owned(), None, report);
    }
    let axes = sweep.names();
    if let Some(columns) = &spec.columns {
        let fields: Vec<&str> = std::iter::once(STAGE).chain(axes.iter().copied()).collect();
        figure.one_of("columns", "field", columns, &fields, report);
        if *columns == spec.over {
            let message = format!("`columns` and `over` both name `{columns}`");
            let help = "an axis cannot be both pooled and shown as columns; use another axis in one of them";
            figure.add("columns", message, Some(help.to_owned()), report);
        }
    }
    // the default of `over` is `seed`, whether or not there is such an axis
    if spec.over != "seed" {
        figure.one_of("over", "axis", &spec.over, &axes, report);
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
        let figure = "[figure.f]\nfrom = ['w']\ncolumns = 'target'\nkernels = true";
        let text = format!("[sweep]\ntarget = ['fundus', 'xray']\n{STAGES}{figure}");
        let experiment = parsed(&text).unwrap();
        let figure = &experiment.figures["f"];
        assert_eq!((figure.columns.as_deref(), figure.over.as_str()), (Some("target"), "seed"));
        assert!(figure.kernels);
        for right in ["", "columns = 'stage'", "over = 'target'", "columns = 'stage'\nover = 'target'"] {
            assert_eq!(errors("", &format!("[figure.f]\nfrom = ['w']\n{right}")), [""; 0], "{right}");
        }
    }

    #[test]
    fn every_wrong_name_is_reported() {
        let figure = "[figure.f]\nfrom = ['ww', 'scores']\ncolumns = 'targets'\nover = 'x'\n\
            [figure.g]\nfrom = []\ncolumns = 'target'\nover = 'target'\nrows = 'target'\n\
            [figure.t]\nfrom = ['w']\n[figure.metrics]\nfrom = ['w']\n[figure.h]\n";
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
    fn f06_an_axis_may_have_the_name_of_a_column() {
        let figure = "[stage.c.pretrain]\nbackbone = 'resnet18'\ndataset = 'd'\nseed = '${depth}'\n\
            [figure.f]\nfrom = ['w']\n";
        assert_eq!(errors("depth = [1, 2]", figure), [""; 0]);
    }
}
