//! A Workflow Run RO-Crate 0.5 (<https://w3id.org/ro/wfrun/workflow/0.5>): `ro-crate-metadata.json` beside the experiment
//! file and its results. Data sets and what stages made are described by their digests; they are not in the crate.

mod constant;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use indexmap::IndexMap;
use serde_json::{Value, json};

use self::constant::{data_parameter, descriptor, language, results_parameter, software};
use super::{Records, nothing, unwritable, write_file};
use crate::dataset::SplitName;
use crate::error::Error;
use crate::identity::Field;
use crate::plan::{PlannedDataset, PlannedStage};
use crate::run::utc;
use crate::store::{FileRecord, Manifest};

const RO_CRATE: &str = "https://w3id.org/ro/crate/1.1";
const WORKFLOW_CRATE: &str = "https://w3id.org/workflowhub/workflow-ro-crate/1.0";
const PROFILES: [(&str, &str, &str); 3] = [
    ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5"),
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    (WORKFLOW_CRATE, "Workflow RO-Crate", "1.0"),
];

/// Folders of the crate.
const EXPERIMENT: &str = "experiment";
const RESULTS: &str = "results";

const AUTHOR: &str = "#author";

/// What a crate says if its author names no license.
const NO_LICENSE: &str = "No license is stated; ask the authors.";

/// Write the crate; returns the number of entities.
///
/// # Errors
/// The store has no stage of this experiment, or a file cannot be read or written.
pub(super) fn write(records: &Records<'_>, folder: &Path) -> Result<usize, Error> {
    let mut made = Vec::new();
    for stage in records.plan.stages() {
        if let Some(manifest) = records.store.manifest(&stage.fingerprint)? {
            made.push((stage, manifest));
        }
    }
    if made.is_empty() {
        return Err(nothing(records.plan, "a stage"));
    }
    let sources = write_sources(records, folder)?;
    let results = copy_results(records, folder)?;
    let entities = Crate { records, made, sources, results }.entities();
    let crate_ = json!({ "@context": format!("{RO_CRATE}/context"), "@graph": entities });
    write_file(&folder.join("ro-crate-metadata.json"), format!("{crate_:#}\n").as_bytes())?;
    Ok(entities.len())
}

/// Write the experiment's file and the parts that it includes; returns their paths in the crate, its file first.
fn write_sources(records: &Records<'_>, folder: &Path) -> Result<Vec<String>, Error> {
    let source = &records.plan.experiment.source;
    let home = source.path.parent().unwrap_or(Path::new(""));
    let name = |path: &Path| path.file_name().map_or_else(|| "part.toml".into(), PathBuf::from);
    let parts = source.parts.iter().map(|part| {
        let inside = part.path.strip_prefix(home).ok().filter(|path| path.is_relative());
        let inside = inside.filter(|path| path.components().all(|part| part.as_os_str() != ".."));
        (inside.map_or_else(|| name(&part.path), Path::to_path_buf), &part.text)
    });
    let all = std::iter::once((name(&source.path), &source.text)).chain(parts);
    let mut paths = Vec::new();
    for (name, text) in all {
        let path = Path::new(EXPERIMENT).join(name);
        write_inside(folder, &path, text.as_bytes())?;
        paths.push(path.to_string_lossy().into_owned());
    }
    Ok(paths)
}

fn copy_results(records: &Records<'_>, folder: &Path) -> Result<Vec<String>, Error> {
    let mut paths = Vec::new();
    for file in &records.results {
        let content =
            fs::read(file).map_err(|error| Error::Read { path: file.clone(), message: error.to_string() })?;
        let path = Path::new(RESULTS).join(file.file_name().unwrap_or_default());
        write_inside(folder, &path, &content)?;
        paths.push(path.to_string_lossy().into_owned());
    }
    Ok(paths)
}

fn write_inside(folder: &Path, path: &Path, content: &[u8]) -> Result<(), Error> {
    let path = folder.join(path);
    let parent = path.parent().unwrap_or(folder);
    fs::create_dir_all(parent).map_err(unwritable(parent))?;
    write_file(&path, content)
}

/// Everything that the metadata describe.
struct Crate<'a> {
    records: &'a Records<'a>,
    made: Vec<(&'a PlannedStage, Manifest)>,
    /// Paths in the crate, the experiment's file first.
    sources: Vec<String>,
    results: Vec<String>,
}

impl Crate<'_> {
    fn entities(&self) -> Vec<Value> {
        let mut entities = vec![descriptor(), self.root(), self.workflow()];
        entities.extend(self.license());
        entities.extend(self.author());
        entities.extend(PROFILES.iter().map(|(id, name, version)| {
            json!({ "@id": id, "@type": "CreativeWork", "name": name, "version": version })
        }));
        entities.extend([language(), software(), data_parameter(), results_parameter(), self.run()]);
        entities.extend(self.sources[1..].iter().map(|path| file(path, "application/toml", None)));
        let of_results = |path: &String| file(path, media_type(path), Some("#results"));
        entities.extend(self.results.iter().map(of_results));
        entities.extend(self.datasets().into_values());
        entities.extend(self.options().into_values());
        entities.extend(
            self.made.iter().flat_map(|(stage, manifest)| [action(stage, manifest), entry(manifest)]),
        );
        self.by_author(&mut entities);
        unique(entities)
    }

    /// Say who made the crate and did what it describes.
    fn by_author(&self, entities: &mut [Value]) {
        for entity in entities.iter_mut().filter(|_| self.records.author.is_some()) {
            if entity["@type"] == "CreateAction" {
                entity["agent"] = reference(AUTHOR);
            } else if entity["@id"] == "./" {
                entity["author"] = reference(AUTHOR);
            }
        }
    }

    fn root(&self) -> Value {
        let experiment = &self.records.plan.experiment;
        let described = experiment.description.trim();
        let described = if described.is_empty() { "An experiment of medmerge." } else { described };
        json!({
            "@id": "./",
            "@type": "Dataset",
            "name": format!("Experiment {}", experiment.name),
            "description": described,
            "datePublished": time(self.end()),
            "license": self.records.license.as_deref().map_or(json!(NO_LICENSE), reference),
            "conformsTo": PROFILES.map(|(id, ..)| reference(id)),
            "hasPart": references(self.sources.iter().chain(&self.results).map(|path| encoded(path))),
            "mainEntity": reference(&encoded(&self.sources[0])),
            "mentions": self.actions(),
        })
    }

    fn license(&self) -> Option<Value> {
        let url = self.records.license.as_ref()?;
        Some(json!({ "@id": url, "@type": "CreativeWork", "name": url, "url": url }))
    }

    fn author(&self) -> Option<Value> {
        let name = self.records.author.as_ref()?;
        Some(json!({ "@id": AUTHOR, "@type": "Person", "name": name }))
    }

    fn actions(&self) -> Vec<Value> {
        let stages = self.made.iter().map(|(stage, _)| reference(&stage_id(stage)));
        std::iter::once(reference("#run")).chain(stages).collect()
    }

    fn workflow(&self) -> Value {
        let experiment = &self.records.plan.experiment;
        json!({
            "@id": encoded(&self.sources[0]),
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            "name": experiment.name,
            "encodingFormat": "application/toml",
            "programmingLanguage": reference("#experiment-file"),
            "input": reference("#data"),
            "output": reference("#results"),
            "conformsTo": reference("https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"),
            "version": blake3::hash(self.records.plan.experiment.source.text.as_bytes()).to_hex().as_str(),
            "hasPart": references(self.sources[1..].iter().map(|path| encoded(path))),
        })
    }

    /// Everything that `medmerge run` did.
    fn run(&self) -> Value {
        let plan = self.records.plan;
        let (made, all) = (self.made.len(), plan.stages().count());
        let status = if made == all { "CompletedActionStatus" } else { "ActiveActionStatus" };
        let objects = self.datasets().into_keys().chain(self.overrides().into_keys());
        json!({
            "@id": "#run",
            "@type": "CreateAction",
            "name": format!("medmerge run {}", plan.experiment.source.path.display()),
            "description": format!("{made} of {all} stages, {}", plan.numerics.as_str()),
            "instrument": reference(&encoded(&self.sources[0])),
            "object": references(objects),
            "result": references(self.results.iter().map(|path| encoded(path))),
            "startTime": time(self.start()),
            "endTime": time(self.end()),
            "actionStatus": format!("http://schema.org/{status}"),
        })
    }

    fn start(&self) -> SystemTime {
        let starts = self.made.iter().map(|(_, manifest)| manifest.header.started);
        starts.min().unwrap_or(SystemTime::UNIX_EPOCH)
    }

    fn end(&self) -> SystemTime {
        let ends = self.made.iter().map(|(_, manifest)| end(manifest));
        ends.max().unwrap_or(SystemTime::UNIX_EPOCH)
    }

    fn datasets(&self) -> IndexMap<String, Value> {
        let all = self.made.iter().flat_map(|(stage, _)| &stage.datasets);
        all.map(|(_, dataset)| (dataset_id(dataset), describe(dataset))).collect()
    }

    /// What `--set` changed.
    fn overrides(&self) -> IndexMap<String, Value> {
        let set = self.records.plan.experiment.source.overrides.iter();
        set.filter_map(|set| set.as_str().split_once('=')).map(|(key, value)| option(key, value)).collect()
    }

    /// Options of all stages, each value once.
    fn options(&self) -> IndexMap<String, Value> {
        let fields = self.made.iter().flat_map(|(stage, _)| options_of(stage));
        let fields = fields.map(|field| option(&field.path, &field.value));
        self.overrides().into_iter().chain(fields).collect()
    }
}

fn file(path: &str, media_type: &str, parameter: Option<&str>) -> Value {
    let mut file = json!({
        "@id": encoded(path),
        "@type": "File",
        "name": path,
        "encodingFormat": media_type,
    });
    if let Some(parameter) = parameter {
        file["exampleOfWork"] = reference(parameter);
    }
    file
}

fn media_type(path: &str) -> &'static str {
    match Path::new(path).extension().and_then(|end| end.to_str()) {
        Some("csv") => "text/csv",
        Some("md") => "text/markdown",
        Some("tex") => "application/x-tex",
        Some("svg") => "image/svg+xml",
        Some("html") => "text/html",
        _ => "application/octet-stream",
    }
}

fn dataset_id(dataset: &PlannedDataset) -> String {
    format!("#dataset-{}", dataset.fingerprint)
}

fn describe(dataset: &PlannedDataset) -> Value {
    let summary = &dataset.summary;
    let images = SplitName::ALL.map(|split| summary.images(split).to_string()).join(" / ");
    json!({
        "@id": dataset_id(dataset),
        "@type": "CreativeWork",
        "name": dataset.name,
        "description": format!(
            "{}, {} pixels, {} classes, {images} images for training, validation and test",
            dataset.spec.kind(), dataset.size, summary.classes.len(),
        ),
        "identifier": format!("blake3:{}", summary.digest),
        "exampleOfWork": reference("#data"),
    })
}

/// Options of a stage; inputs and data sets are objects of its action.
fn options_of(stage: &PlannedStage) -> impl Iterator<Item = &Field> {
    let is_option =
        |field: &&Field| !["input.", "dataset."].iter().any(|prefix| field.path.starts_with(prefix));
    stage.fields.iter().filter(is_option)
}

fn option(key: &str, value: &str) -> (String, Value) {
    let value = value.trim_matches('"');
    let id = format!("#option-{}={}", encoded(key), encoded(value));
    let entity = json!({ "@id": id, "@type": "PropertyValue", "name": key, "value": value });
    (id, entity)
}

fn stage_id(stage: &PlannedStage) -> String {
    format!("#stage-{}", stage.fingerprint)
}

fn entry_id(fingerprint: impl std::fmt::Display) -> String {
    format!("#entry-{fingerprint}")
}

/// What a stage did.
fn action(stage: &PlannedStage, manifest: &Manifest) -> Value {
    let inputs = manifest.header.inputs.iter().map(|(_, input)| entry_id(input));
    let datasets = stage.datasets.iter().map(|(_, dataset)| dataset_id(dataset));
    let options = options_of(stage).map(|field| option(&field.path, &field.value).0);
    json!({
        "@id": stage_id(stage),
        "@type": "CreateAction",
        "name": stage.id,
        "description": format!("stage of kind {}, by medmerge {} with candle {}",
            manifest.header.kind, manifest.version, manifest.candle),
        "instrument": reference("#medmerge"),
        "object": references(inputs.chain(datasets).chain(options)),
        "result": reference(&entry_id(stage.fingerprint)),
        "startTime": time(manifest.header.started),
        "endTime": time(end(manifest)),
        "actionStatus": "http://schema.org/CompletedActionStatus",
    })
}

/// What a stage made.
fn entry(manifest: &Manifest) -> Value {
    let file = |(name, file): (&String, &FileRecord)| format!("{name} blake3:{}", file.blake3);
    json!({
        "@id": entry_id(manifest.header.fingerprint),
        "@type": "CreativeWork",
        "name": format!("entry {} of the store", manifest.header.fingerprint.short()),
        "description": format!("what a stage of kind {} made; not in the crate", manifest.header.kind),
        "identifier": manifest.files.iter().map(file).collect::<Vec<_>>(),
    })
}

fn end(manifest: &Manifest) -> SystemTime {
    manifest.header.started + Duration::try_from_secs_f64(manifest.header.seconds).unwrap_or_default()
}

/// ISO 8601, in the form that the validator knows.
fn time(time: SystemTime) -> String {
    utc(time).replace('Z', "+00:00")
}

fn reference(id: &str) -> Value {
    json!({ "@id": id })
}

/// A list, or the only one by itself.
fn references(ids: impl Iterator<Item = String>) -> Value {
    let mut all: Vec<Value> = ids.map(|id| reference(&id)).collect();
    if all.len() == 1 { all.remove(0) } else { all.into() }
}

/// The first entity of each id: stages of the same fingerprint are one.
fn unique(entities: Vec<Value>) -> Vec<Value> {
    let mut seen = HashSet::new();
    entities.into_iter().filter(|entity| seen.insert(entity["@id"].to_string())).collect()
}

/// With `%` escapes for what a relative URI cannot have.
fn encoded(text: &str) -> String {
    let keeps = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    let escaped = |byte: u8| if keeps(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uris() {
        assert_eq!(encoded("results/a b[é].csv"), "results/a%20b%5B%C3%A9%5D.csv");
        assert_eq!(option("train.lr", "\"1e-3\"").0, "#option-train.lr=1e-3");
    }
}
