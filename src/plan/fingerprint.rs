//! Everything that a result depends on, and its hash.
//!
//! A stage's fingerprint is BLAKE3 over its *fields*: (path, value) pairs, sorted by path, each part preceded by its
//! length. Stages with the same fingerprint do the same work, which is done once.
//!
//! | in | as | why |
//! |---|---|---|
//! | kind of the stage | `kind` | different kinds do different work |
//! | its `revision` | `revision` | raised when the results for the same spec change |
//! | every option, defaults included | its path: `train.optimizer.adamw.lr` | options affect the result; changing a default in a later version does, too |
//! | seed | `train.seed` | a regular option |
//! | inputs | `input.<role>`: their fingerprints | inputs affect the result; roles are numbered where the order matters, so swapping two sources matters |
//! | data sets | `dataset.<role>`: their fingerprints | kind, revision, options, label budget and the content's digest, see [`dataset_fingerprint`] |
//! | files outside (a checkpoint) | `file.<position>`: digest of the content | the content matters, not its path |
//! | numerics | `numerics`: device class and number type | a GPU rounds differently |
//!
//! | out | why |
//! |---|---|
//! | names of stages, experiments, data sets, models' row labels | renaming does not affect results |
//! | paths, times of files | moving does not affect results; the content's digest is included |
//! | a data set's `split`, `class_map`, `columns` and `allow` | the content's digest includes the splits, labels and classes that they give |
//! | comments, the order of keys | fields come from the typed spec, sorted |
//! | threads, device index, log level | results do not depend on them |
//! | sweep axes | axes change options, inputs or data sets, which are included |
//! | version of the program | it would invalidate everything; `revision` marks changed results |
//! | how often the same input has the same role | evaluating one model under two labels is done once |

use dataset::{DatasetSpec, LabelBudget, Summary};
use identity::{Field, Fingerprint, Identity, Numerics, Role};
use serde_json::Value;
use stage::StageSpec;

/// Everything that the result of a stage depends on, sorted by path.
///
/// `inputs` and `datasets` can be in any order; `files` are the digests of [`Stage::files`](stage::Stage::files) in
/// order.
pub fn stage_fields(
    spec: &StageSpec,
    inputs: &[(Role, Fingerprint)],
    datasets: &[(Role, Fingerprint)],
    files: &[String],
    numerics: Numerics,
) -> Vec<Field> {
    let mut fields = spec_fields(spec.kind(), spec.revision(), spec.options());
    fields.push(Field::new("numerics", numerics.in_fingerprint()));
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

/// The fields that identify a data set, sorted by path: kind, revision, options, content and label budget, if any; not
/// its name or path.
pub fn dataset_fields(spec: &DatasetSpec, labels: LabelBudget, summary: &Summary) -> Vec<Field> {
    let mut fields = spec_fields(spec.kind(), spec.revision(), spec.options());
    if !labels.is_whole() {
        fields.extend(Field::of_options(labels.options()));
        // Groups are drawn whole. A budget of validation images alone draws none and would not need them, but without
        // them, results with such a budget would be stale.
        fields.extend(summary.groups_digest().map(|digest| Field::new("label_groups", digest)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{experiment, summary};

    #[test]
    fn groups_count_only_if_a_label_budget_draws_them() {
        let experiment = experiment();
        let spec = &experiment.datasets[0].spec;
        let grouped = |groups: [Vec<(u32, u32)>; 2]| Summary {
            train_groups: Some(groups.into()),
            ..summary([[4, 0], [1, 1], [1, 1]])
        };
        let neighbors = grouped([vec![(0, 0), (1, 0)], vec![(2, 0), (3, 0)]]);
        let crossed = grouped([vec![(0, 0), (2, 0)], vec![(1, 0), (3, 0)]]);
        let fingerprint = |label_fraction: f64, summary: &Summary| {
            let labels = LabelBudget { label_fraction, ..LabelBudget::default() };
            dataset_fingerprint(spec, labels, summary)
        };
        assert_ne!(fingerprint(0.5, &neighbors), fingerprint(0.5, &crossed));
        assert_eq!(fingerprint(1.0, &neighbors), fingerprint(1.0, &crossed));
    }
}
