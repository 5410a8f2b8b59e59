//! Loading an experiment in passes, each of which reports all its errors.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use super::document::Document;
use super::draft::{DatasetDraft, Defaults, Draft, Reader};
use super::error::{Diagnostic, Errors, Report};
use super::interpolate::Scope;
use super::resolve::Links;
use super::sweep::{Axes, MOST_INSTANCES, Sweep};
use super::tree::Table;
use super::{Experiment, Override, Source, expand, figures, gather, include, overrides, shown, tables};
use stage::StageSpec;

/// The environment variable behind `${data}`.
const DATA_VARIABLE: &str = "MEDMERGE_DATA";

impl Experiment {
    /// Read and check an experiment file.
    ///
    /// # Errors
    /// The file cannot be read, or all errors in it.
    pub fn load(path: &Path) -> Result<Self, Errors> {
        Self::load_with(path, &[])
    }

    /// Read and check an experiment file with some of its keys overridden.
    ///
    /// # Errors
    /// The file cannot be read, or all errors in it and in the overrides.
    pub fn load_with(path: &Path, overrides: &[Override]) -> Result<Self, Errors> {
        Self::parse(Source { overrides: overrides.to_vec(), ..Source::read(path)? })
    }

    /// Check the text of an experiment file, with its overrides.
    ///
    /// # Errors
    /// All errors in it.
    pub fn parse(source: Source) -> Result<Self, Errors> {
        Self::parse_with(source, data_folder().as_deref())
    }

    /// [`Self::parse`], with the value of `${data}`.
    pub(super) fn parse_with(source: Source, data: Option<&str>) -> Result<Self, Errors> {
        let source = Arc::new(source);
        let mut report = Report::default();
        let experiment = include::root(&source, &mut report)
            .map(|root| overrides::applied(root, &source, &mut report))
            .and_then(|root| read(root, &source, data, &mut report))
            .filter(|_| report.is_clean());
        experiment.ok_or_else(|| report.into_errors(source))
    }
}

/// The value of `${data}`: made absolute, because it is relative to the working directory and not to the file. What is
/// not UTF-8 in it is replaced, so that messages show it and no such folder is found.
fn data_folder() -> Option<String> {
    let folder = std::env::var_os(DATA_VARIABLE).filter(|folder| !folder.is_empty())?;
    Some(std::path::absolute(folder).ok()?.to_string_lossy().into_owned())
}

fn read(
    root: Table<'_>,
    source: &Arc<Source>,
    data: Option<&str>,
    report: &mut Report,
) -> Option<Experiment> {
    let document = Document::read(root, report);
    let sweep = Sweep::read(document.sweep, report);
    let folder = source.path.parent().unwrap_or(Path::new(""));
    let room = Cell::new(MOST_INSTANCES);
    let reader = Reader { scope: Scope { sweep: &sweep, data }, folder, room };
    let defaults = reader.train(document.train, report);
    let datasets: Vec<_> =
        document.datasets.into_iter().map(|section| reader.dataset(section, report)).collect();
    let stages: Vec<_> =
        document.stages.into_iter().map(|section| reader.stage(section, &defaults, report)).collect();
    report.settle();
    let links = Links::new(&datasets, &stages, report);
    links.check_cycles(&stages, report);
    let named = document.tables.iter().chain(&document.figures);
    let spans = named.map(|(name, _)| (name.get_ref().to_string(), name.span())).collect();
    let tables = tables::read(document.tables, &stages, &sweep, report);
    let figures = figures::read(document.figures, &stages, &sweep, &tables, report);
    check_used(&sweep, &defaults, &datasets, &stages, report);
    if !report.is_clean() {
        return None;
    }
    let order = links.order();
    let axes = links.axes(&order, &datasets, &stages, &sweep);
    gather::check(&stages, &datasets, &sweep, &axes, report);
    check_count(&sweep, &stages, &axes, report);
    if !report.is_clean() {
        return None;
    }
    let experiment = Experiment {
        name: document.name,
        description: document.description,
        notes: document.notes,
        source: source.clone(),
        train: defaults.specs,
        datasets: expand::datasets(&sweep, &datasets),
        stages: expand::stages(&sweep, &datasets, &stages, &order, &axes),
        axes: sweep.into_values(),
        tables,
        figures,
        spans,
    };
    shown::check(&experiment, report);
    Some(experiment)
}

/// Report an excessive number of stages, each counted at every combination of its axes, at the one with the most.
fn check_count(sweep: &Sweep<'_>, stages: &[Draft<'_, StageSpec>], axes: &[Axes], report: &mut Report) {
    let counts: Vec<usize> = axes.iter().map(|axes| sweep.combinations(axes)).collect();
    let total = counts.iter().copied().fold(0, usize::saturating_add);
    let Some((most, stage)) = counts.iter().zip(stages).max_by_key(|(count, _)| **count) else { return };
    if total > MOST_INSTANCES {
        let message = format!(
            "the axes make {total} stages of the {} in the file, {most} of `{}`; {MOST_INSTANCES} is the limit",
            stages.len(),
            stage.name.get_ref()
        );
        let help = "sweep over fewer values, or split the experiment".to_owned();
        report.add(Diagnostic::at(stage.name.span(), message).with_help(help));
    }
}

/// An unused axis is an error: it would have no effect.
fn check_used(
    sweep: &Sweep<'_>,
    defaults: &Defaults<'_>,
    datasets: &[DatasetDraft<'_>],
    stages: &[Draft<'_, StageSpec>],
    report: &mut Report,
) {
    let mut mentioned: Axes = defaults.axes.clone();
    mentioned.extend(datasets.iter().flat_map(|draft| draft.axes.iter()));
    mentioned.extend(stages.iter().flat_map(|draft| draft.axes.iter()));
    let all_are_understood =
        datasets.iter().all(|draft| draft.has_kind) && stages.iter().all(|draft| draft.has_kind);
    if !all_are_understood {
        return;
    }
    for (position, axis) in sweep.axes().iter().enumerate() {
        if !mentioned.contains(&position) && !report.knows(&axis.span) {
            let message = format!("axis `{}` is unused", axis.name);
            let help = format!("write `${{{}}}` in a stage or data set, or remove the axis", axis.name);
            report.add(Diagnostic::at(axis.span.clone(), message).with_help(help));
        }
    }
}
