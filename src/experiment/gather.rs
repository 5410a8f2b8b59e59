//! Stages that take every result of their input along an axis, such as `select`.

use super::draft::{DatasetDraft, Draft};
use super::error::{Diagnostic, Report};
use super::sweep::{Axes, Sweep};
use super::tree;
use kind::suggest;
use stage::StageSpec;

/// The name of the axis that a stage gathers.
fn named<'a>(draft: &'a Draft<'_, StageSpec>) -> Option<&'a str> {
    draft.versions.first()?.spec.gathers()
}

/// The axis that a stage gathers, so that it does not depend on it.
pub(super) fn gathered(draft: &Draft<'_, StageSpec>, sweep: &Sweep<'_>) -> Option<usize> {
    sweep.position(named(draft)?)
}

/// Report an axis to gather that is unknown, that the input does not depend on, or that the stage depends on in another
/// way. `axes` are those of all stages.
pub(super) fn check(
    stages: &[Draft<'_, StageSpec>],
    datasets: &[DatasetDraft<'_>],
    sweep: &Sweep<'_>,
    axes: &[Axes],
    report: &mut Report,
) {
    for draft in stages {
        let Some(name) = named(draft) else { continue };
        if let Some((message, help)) = wrong(draft, name, (stages, datasets), sweep, axes) {
            let span = tree::span_at(&draft.versions[0].body, "axis").unwrap_or_else(|| draft.name.span());
            report.add(Diagnostic::at(span, message).with_help(help));
        }
    }
}

fn wrong(
    draft: &Draft<'_, StageSpec>,
    name: &str,
    (stages, datasets): (&[Draft<'_, StageSpec>], &[DatasetDraft<'_>]),
    sweep: &Sweep<'_>,
    axes: &[Axes],
) -> Option<(String, Option<String>)> {
    let Some(axis) = sweep.position(name) else {
        return Some((format!("unknown axis `{name}`"), suggest::help(name, &sweep.names())));
    };
    let spec = &draft.versions[0].spec;
    let by_name = |name: &str| stages.iter().position(|stage| stage.name.get_ref() == name);
    let input = spec.inputs().first().map(|input| input.stage.clone())?;
    if !axes[by_name(&input)?].contains(&axis) {
        let help = format!("write `${{{name}}}` in it or in its inputs, or name another axis");
        return Some((format!("stage `{input}` does not depend on the axis `{name}`"), Some(help)));
    }
    let reads = spec.datasets();
    let mut used =
        datasets.iter().filter(|data| reads.iter().any(|read| read.dataset == **data.name.get_ref()));
    let is_mixed = draft.versions.iter().any(|version| version.spec.gathers() != Some(name));
    let uses = draft.axes.contains(&axis) || used.any(|data| data.axes.contains(&axis)) || is_mixed;
    let message =
        || format!("stage `{}` cannot both use the axis `{name}` and select along it", draft.name.get_ref());
    uses.then(|| (message(), Some("use a data set that does not depend on it".to_owned())))
}
