//! What decides a result, and the hash of it.
//!
//! A stage's fingerprint is blake3 over its *fields*: (path, value) pairs, each part preceded by its
//! length, sorted by path. Two stages with one fingerprint are the same work, whoever asks for it, so it
//! is done once.
//!
//! | in | as | why |
//! |---|---|---|
//! | kind of the stage | `kind` | another kind does other work |
//! | its `revision` | `revision` | raised by whoever changes the numbers that the same spec gives |
//! | every option, defaults included | its path: `train.optimizer.adamw.lr` | it changes the result; a default that changes in a later version is another result |
//! | seed | `train.seed` | an option like the others |
//! | inputs | `input.<role>`: their fingerprints | another input gives another result; roles are numbered where the order matters, so swapping two sources shows |
//! | data sets | `dataset.<role>`: their fingerprints | kind, revision, options, label budget and the content's digest, see [`dataset_fingerprint`] |
//! | files outside (a checkpoint) | `file.<position>`: digest of the content | the content decides, wherever it lies |
//! | numerics | `numerics`: device class and number type | a GPU rounds in another order |
//!
//! | out | why |
//! |---|---|
//! | names of stages, experiments, data sets, models' row labels | renaming changes no number |
//! | paths, times of files | moving changes no number; the content's digest is in |
//! | comments, the order of keys | fields come from the typed spec, sorted |
//! | threads, device index, log level | results do not depend on them |
//! | sweep axes | what an axis changes is an option, an input or a data set, and those are in |
//! | version of the program | it would make everything anew; `revision` says when the numbers changed |
//! | how often the same input has the same role | evaluating one model under two labels is done once |

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dataset::{DatasetSpec, LabelBudget, Summary};
use crate::nn::Precision;
use crate::stage::Stage;

/// Identifies what a stage makes: 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub String);

impl Fingerprint {
    /// blake3 over length-prefixed fields.
    pub fn of(fields: &[Field]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in fields.iter().flat_map(|field| [&field.path, &field.value]) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Self(hasher.finalize().to_hex().to_string())
    }

    /// The first 12 digits, for people and file names.
    pub fn short(&self) -> &str {
        short(&self.0)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first 12 characters of a digest.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// One thing that a fingerprint depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Field {
    /// `train.optimizer.adamw.lr`, `input.from`, `dataset.dataset`, …
    pub path: String,
    /// Canonical JSON of an option; the bare digest or word of anything else.
    pub value: String,
}

impl Field {
    fn new(path: impl Into<String>, value: impl Into<String>) -> Self {
        Self { path: path.into(), value: value.into() }
    }
}

/// Device class and number type: what the same operations may round differently on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numerics {
    /// Any CPU, f32.
    Cpu,
    /// Any CUDA device, products of this precision.
    Cuda(Precision),
}

impl Numerics {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Cpu, Self::Cuda(Precision::F32), Self::Cuda(Precision::Tf32), Self::Cuda(Precision::Bf16)];

    /// As it enters the fingerprint: `cpu-f32`, `cuda-f32`, `cuda-tf32`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu-f32",
            Self::Cuda(Precision::F32) => "cuda-f32",
            Self::Cuda(Precision::Tf32) => "cuda-tf32",
            Self::Cuda(Precision::Bf16) => "cuda-bf16",
        }
    }
}

/// Everything that the result of a stage depends on, sorted by path.
///
/// `inputs` and `datasets` are (role, fingerprint) pairs in any order; `files` are the digests of
/// [`Stage::files`] in their order. `spec` is the stage's own section, or the externally tagged
/// [`StageSpec`](crate::stage::StageSpec) around it.
pub fn stage_fields(
    stage: &dyn Stage,
    kind: &str,
    spec: &impl Serialize,
    inputs: &[(&str, &Fingerprint)],
    datasets: &[(&str, &str)],
    files: &[String],
    numerics: Numerics,
) -> Vec<Field> {
    let mut fields = spec_fields(kind, stage.revision(), spec);
    fields.push(Field::new("numerics", numerics.as_str()));
    fields
        .extend(inputs.iter().map(|(role, fingerprint)| Field::new(format!("input.{role}"), &fingerprint.0)));
    fields.extend(datasets.iter().map(|(role, digest)| Field::new(format!("dataset.{role}"), *digest)));
    fields.extend(files.iter().enumerate().map(|(i, digest)| Field::new(format!("file.{i}"), digest)));
    in_order(fields)
}

/// What identifies a data set, sorted by path: its kind, revision, options, content and label budget, if it has one; not
/// its name, not its path.
pub fn dataset_fields(spec: &DatasetSpec, labels: LabelBudget, summary: &Summary) -> Vec<Field> {
    let mut fields = spec_fields(spec.kind(), spec.source().revision(), spec);
    if !labels.is_whole() {
        let budget = serde_json::to_value(labels).expect("numbers serialise without failing");
        flatten("", budget, &mut fields);
    }
    fields.push(Field::new("digest", &summary.digest));
    in_order(fields)
}

/// A data set's fingerprint: the hash of [`dataset_fields`].
pub fn dataset_fingerprint(spec: &DatasetSpec, labels: LabelBudget, summary: &Summary) -> Fingerprint {
    Fingerprint::of(&dataset_fields(spec, labels, summary))
}

fn in_order(mut fields: Vec<Field>) -> Vec<Field> {
    fields.sort();
    fields.dedup();
    fields
}

/// Kind, revision and options of a spec.
fn spec_fields(kind: &str, revision: u32, spec: &impl Serialize) -> Vec<Field> {
    let value = serde_json::to_value(spec).expect("specs have string keys and serialise without failing");
    let options = match value {
        Value::Object(mut object) if object.len() == 1 && object.contains_key(kind) => {
            object.swap_remove(kind)
        }
        other => Some(other),
    };
    let mut fields = vec![Field::new("kind", kind), Field::new("revision", revision.to_string())];
    flatten("", options.unwrap_or_default(), &mut fields);
    fields
}

/// Objects become paths; everything else, lists too, one field.
fn flatten(path: &str, value: Value, fields: &mut Vec<Field>) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (key, value) in object {
                flatten(&join(path, &key), value, fields);
            }
        }
        Value::Object(_) if path.is_empty() => {}
        mut other => {
            other.sort_all_objects();
            fields.push(Field::new(path, other.to_string()));
        }
    }
}

/// A key that could be taken for a path is quoted, as TOML does.
fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if bare { key.to_string() } else { Value::from(key).to_string() };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
