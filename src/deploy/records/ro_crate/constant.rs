//! Entities that are the same in every crate.

use serde_json::{Value, json};

use super::{RO_CRATE, WORKFLOW_CRATE, reference};

pub(super) fn descriptor() -> Value {
    json!({
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": reference("./"),
        "conformsTo": [reference(RO_CRATE), reference(WORKFLOW_CRATE)],
    })
}

pub(super) fn language() -> Value {
    json!({
        "@id": "#experiment-file",
        "@type": "ComputerLanguage",
        "name": "medmerge experiment file",
        "alternateName": "TOML",
        "url": "https://toml.io",
    })
}

pub(super) fn software() -> Value {
    json!({
        "@id": "#medmerge",
        "@type": "SoftwareApplication",
        "name": "medmerge",
        "softwareVersion": env!("CARGO_PKG_VERSION"),
        "description": crate::cli::built(),
    })
}

pub(super) fn data_parameter() -> Value {
    json!({
        "@id": "#data",
        "@type": "FormalParameter",
        "name": "data sets",
        "additionalType": "CreativeWork",
        "conformsTo": reference("https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"),
    })
}

pub(super) fn results_parameter() -> Value {
    json!({
        "@id": "#results",
        "@type": "FormalParameter",
        "name": "tables and figures",
        "additionalType": "File",
        "conformsTo": reference("https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"),
    })
}
