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

use dataset::{DatasetSpec, LabelBudget, Summary};
use identity::{Field, Fingerprint, Identity, Numerics, Role};
use serde_json::Value;
use stage::StageSpec;

/// Everything that the result of a stage depends on, sorted by path.
///
/// `inputs` and `datasets` are in any order; `files` are the digests of [`Stage::files`](stage::Stage::files) in their
/// order.
pub fn stage_fields(
    spec: &StageSpec,
    inputs: &[(Role, Fingerprint)],
    datasets: &[(Role, Fingerprint)],
    files: &[String],
    numerics: Numerics,
) -> Vec<Field> {
    let mut fields = spec_fields(spec.kind(), spec.revision(), spec.options());
    fields.push(Field::new("numerics", numerics.as_str()));
    let by_role = |what: &'static str, pairs: &[(Role, Fingerprint)]| -> Vec<Field> {
        let field = |(role, fingerprint): &(Role, Fingerprint)| {
            Field::new(format!("{what}.{role}"), fingerprint.to_string())
        };
        pairs.iter().map(field).collect()
    };
    fields.extend(by_role("input", inputs));
    fields.extend(by_role("dataset", datasets));
    fields.extend(files.iter().enumerate().map(|(i, digest)| Field::new(format!("file.{i}"), digest)));
    in_order(fields)
}

/// What identifies a data set, sorted by path: its kind, revision, options, content and label budget, if it has one; not
/// its name, not its path.
pub fn dataset_fields(spec: &DatasetSpec, labels: LabelBudget, summary: &Summary) -> Vec<Field> {
    let mut fields = spec_fields(spec.kind(), spec.revision(), spec.options());
    if !labels.is_whole() {
        fields.extend(Field::of_options(labels.options()));
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

fn spec_fields(kind: &str, revision: u32, options: Value) -> Vec<Field> {
    let mut fields = vec![Field::new("kind", kind), Field::new("revision", revision.to_string())];
    fields.extend(Field::of_options(options));
    fields
}
