//! From a plan and the store to what the report of an experiment shows.

use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use indexmap::IndexMap;

use super::evaluated::{evaluated, trained};
use super::evaluations;
use super::thumbnails::{Album, Thumbnails};
use crate::chart::Evaluated;
use crate::dataset::SplitName;
use crate::error::Error;
use crate::experiment::Experiment;
use crate::identity::Field;
use crate::plan::{Plan, PlannedDataset, PlannedStage};
use crate::report::{Dataset, Report, Stage, Wrong};
use crate::run::status::{RunStatus, statuses};
use crate::store::Store;
use crate::store::manifest::Manifest;

/// Fields that are not options: what they name is shown elsewhere.
const NOT_OPTIONS: [&str; 4] = ["input.", "dataset.", "numerics", "revision"];

/// Everything in a report except tables and figures, with images of some data sets.
///
/// # Errors
/// An entry of the store is damaged.
pub fn report(plan: &Plan, store: &Store, thumbnails: Thumbnails) -> Result<Report, Error> {
    let experiment = &plan.experiment;
    let stages: Vec<Stage> =
        plan.stages().map(|stage| stage_of(plan, store, stage)).collect::<Result<_, Error>>()?;
    let last_run = last_run(plan, store)?;
    Ok(Report {
        name: experiment.name.clone(),
        description: experiment.description.clone(),
        notes: experiment.notes.clone(),
        options: options(plan),
        evaluated: evaluated_with_images(plan, store, thumbnails)?,
        trained: trained(plan, store, |_| true)?,
        facts: facts(plan, &stages, last_run.as_ref()),
        failed: last_run.iter().flat_map(|run| failed(run, &stages)).collect(),
        stages,
        datasets: datasets(plan),
        warnings: plan.warnings.iter().cloned().collect(),
        sources: sources(experiment),
        ..Report::default()
    })
}

fn stage_of(plan: &Plan, store: &Store, stage: &PlannedStage) -> Result<Stage, Error> {
    let manifest = store.manifest(&stage.fingerprint)?;
    let started = |manifest: &Manifest| {
        manifest.header.started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    };
    Ok(Stage {
        id: stage.id.clone(),
        kind: stage.spec.kind().to_owned(),
        fingerprint: stage.fingerprint.to_string(),
        inputs: stage.inputs.iter().map(|(_, input)| plan.stage(*input).id.clone()).collect(),
        made: manifest.as_ref().map(|manifest| (started(manifest), manifest.header.seconds)),
        peak_memory: manifest.as_ref().and_then(|manifest| manifest.header.peak_memory),
        by: manifest.map(|manifest| made_by(&manifest)),
    })
}

/// Versions and numerics that an entry was made with.
fn made_by(manifest: &Manifest) -> String {
    let numerics = manifest.header.fields.iter().find(|field| field.path == "numerics");
    let numerics = numerics.map(|field| format!(" on {}", field.value.trim_matches('"'))).unwrap_or_default();
    format!("medmerge {}, candle {}{numerics}", manifest.version, manifest.candle)
}

/// The last run of the experiment from this store.
fn last_run(plan: &Plan, store: &Store) -> Result<Option<RunStatus>, Error> {
    Ok(statuses(store)?.into_iter().rfind(|status| status.experiment == plan.experiment.name))
}

/// What a run came to.
fn came_to(run: &RunStatus) -> String {
    let RunStatus { run, done, fresh, failed, skipped, .. } = run;
    format!("{run}: {done} made, {fresh} fresh, {} failed, {skipped} skipped", failed.len())
}

/// The stages that failed in a run and are still missing, with their errors.
fn failed(run: &RunStatus, stages: &[Stage]) -> Vec<(String, String)> {
    let is_missing = |id: &String| stages.iter().any(|stage| stage.id == *id && stage.made.is_none());
    let failed = run.failed.iter().filter(|(id, _)| is_missing(id));
    failed.map(|(id, message)| (id.clone(), message.clone())).collect()
}

/// The inputs and options of the stage behind each row of the evaluations, at the first values of the axes.
fn options(plan: &Plan) -> Vec<(String, Vec<(String, String)>)> {
    let mut rows = IndexMap::new();
    for (stage, spec) in evaluations(plan) {
        for (label, (_, model)) in spec.models.keys().zip(&stage.inputs) {
            let model = plan.stage(*model);
            rows.entry(label.clone()).or_insert_with(|| {
                let inputs =
                    model.inputs.iter().map(|(input, _)| (input.role.to_string(), input.stage.clone()));
                inputs.chain(model.fields.iter().filter_map(option)).collect()
            });
        }
    }
    rows.into_iter().collect()
}

fn option(field: &Field) -> Option<(String, String)> {
    let is_option = !NOT_OPTIONS.iter().any(|prefix| field.path.starts_with(prefix));
    is_option.then(|| (field.path.clone(), field.value.trim_matches('"').to_owned()))
}

/// The predictions of each model on each data set, with images of some.
fn evaluated_with_images(
    plan: &Plan,
    store: &Store,
    thumbnails: Thumbnails,
) -> Result<Vec<(Evaluated, Vec<Wrong>)>, Error> {
    let mut album = Album::new(store, thumbnails);
    Ok(evaluated(plan, store, |_| true, |cell, prediction, valid| album.wrong(cell, prediction, valid))?)
}

fn datasets(plan: &Plan) -> Vec<Dataset> {
    let mut found: IndexMap<String, Dataset> = IndexMap::new();
    for dataset in plan.stages().flat_map(|stage| &stage.datasets).map(|(_, dataset)| dataset) {
        found.entry(dataset_id(dataset)).or_insert_with_key(|name| dataset_of(name, dataset));
    }
    found.into_values().collect()
}

fn dataset_id(dataset: &PlannedDataset) -> String {
    let at: Vec<String> = dataset.at.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
    if at.is_empty() { dataset.name.clone() } else { format!("{}[{}]", dataset.name, at.join(",")) }
}

fn dataset_of(name: &str, dataset: &PlannedDataset) -> Dataset {
    let summary = &dataset.summary;
    let counts = |class: usize| summary.counts.each_ref().map(|counts| counts[class]);
    Dataset {
        name: name.to_owned(),
        kind: dataset.spec.kind().to_owned(),
        size: dataset.size,
        images: SplitName::ALL.map(|split| summary.images(split)),
        classes: summary.classes.iter().enumerate().map(|(i, class)| (class.clone(), counts(i))).collect(),
        digest: summary.digest.clone(),
        caveats: summary.caveats.clone(),
    }
}

fn facts(plan: &Plan, stages: &[Stage], last_run: Option<&RunStatus>) -> Vec<(String, String)> {
    let source = &plan.experiment.source;
    let sets: String = source.overrides.iter().map(|set| format!(" --set '{}'", set.as_str())).collect();
    let made = stages.iter().filter(|stage| stage.made.is_some()).count();
    let by: BTreeSet<&str> = stages.iter().filter_map(|stage| stage.by.as_deref()).collect();
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![
        fact("Command", format!("medmerge run {}{sets}", source.path.display())),
        fact("Made by", by.into_iter().collect::<Vec<_>>().join("; ")),
        fact("Numerics", plan.numerics.as_str().to_owned()),
        fact("Stages in the store", format!("{made} of {}", stages.len())),
    ];
    facts.extend(last_run.map(|run| fact("Last run", came_to(run))));
    facts.extend(option_env!("MEDMERGE_COMMIT").map(|commit| fact("Report by commit", commit.to_owned())));
    facts
}

/// The experiment's file and the parts that it includes.
fn sources(experiment: &Experiment) -> Vec<(String, String)> {
    let source = &experiment.source;
    let parts = source.parts.iter().map(|part| (part.path.display().to_string(), part.text.clone()));
    std::iter::once((source.path.display().to_string(), source.text.clone())).chain(parts).collect()
}
