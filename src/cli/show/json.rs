//! JSON output of `medmerge show`.

use serde_json::{Value, json};

use super::Shown;
use crate::identity::{Field, Fingerprint};
use crate::store::{Lineage, Origin};

/// Everything, as JSON.
pub(super) fn json(shown: &Shown) -> String {
    let tensor = |(name, dtype, shape): &(String, String, Vec<usize>)| json!({ "name": name, "dtype": dtype, "shape": shape });
    let weights = |row: &super::SourceWeights| {
        let of = &row.of;
        json!({
            "layer": row.layer, "source": row.source, "kernels": row.kernels, "mean": of.mean, "std": of.std,
            "min": of.min, "max": of.max, "share": of.share, "fraction": of.fraction,
        })
    };
    let value = json!({
        "fingerprint": shown.lineage.as_ref().map(|lineage| &lineage.root),
        "origins": shown.lineage.as_ref().map(origins).unwrap_or_default(),
        "file": shown.model.as_ref().map(|(path, _)| path),
        "preprocessing": shown.model.as_ref().map(|(_, info)| &info.preprocessing),
        "manifest": shown.manifest,
        "metadata": shown.metadata,
        "tensors": shown.tensors.iter().map(tensor).collect::<Vec<_>>(),
        "merge_weights": shown.weights.iter().map(weights).collect::<Vec<_>>(),
    });
    format!("{value:#}")
}

fn origins(lineage: &Lineage) -> Vec<Value> {
    lineage.known.iter().map(|(fingerprint, origin)| one(fingerprint, origin)).collect()
}

fn one(fingerprint: &Fingerprint, origin: &Origin) -> Value {
    let fields: Vec<&Field> = origin.options().collect();
    json!({
        "fingerprint": fingerprint,
        "kind": origin.kind(),
        "names": origin.names,
        "inputs": origin.inputs(),
        "datasets": origin.datasets(),
        "fields": fields,
        "whole": origin.is_whole(fingerprint),
    })
}
