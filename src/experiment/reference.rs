//! The reference of keys in the guide, generated from the same doc comments as the JSON Schema.

use std::fmt::Write;

use dataset::PixelSpec;
use kind::schema::schema_of;
use serde_json::Value;
use stage::StageSpec;
use train::TrainSpec;

use super::document::Header;
use super::schema::{datasets, kinds, stages};
use super::{FigureSpec, TableSpec};

/// `src/guide/reference/keys.md`.
pub fn reference() -> String {
    let mut text = String::from(
        "# Every key\n\nThe keys of an experiment file, with their defaults. This page is generated from the \
         program's own types; `medmerge schema` prints the same as a JSON Schema, with which editors complete and \
         validate keys.\n",
    );
    section(&mut text, "[experiment]", &schema_of::<Header>());
    section(&mut text, "[train]", &schema_of::<TrainSpec>());
    let train = schema_of::<TrainSpec>();
    for key in ["optimizer", "schedule", "loss"] {
        choices(&mut text, key, &train["properties"][key]);
    }
    choices(&mut text, "augment", &train["properties"]["augment"]["items"]);
    for (kind, schema) in datasets() {
        section(&mut text, &format!("[dataset.<name>.{kind}]"), &schema);
    }
    section(&mut text, "pixels", &schema_of::<PixelSpec>());
    for (kind, schema) in stages() {
        section(&mut text, &format!("[stage.<name>.{kind}]"), &schema);
    }
    for (kind, key) in [("pretrain", "backbone"), ("merge", "method")] {
        let stage = kinds(&schema_of::<StageSpec>()).into_iter().find(|(name, _)| name == kind);
        choices(&mut text, key, &stage.unwrap_or_default().1["properties"][key]);
    }
    section(&mut text, "[table.<name>]", &schema_of::<TableSpec>());
    section(&mut text, "[figure.<name>]", &schema_of::<FigureSpec>());
    metrics(&mut text);
    text
}

fn section(text: &mut String, title: &str, schema: &Value) {
    let _ = write!(text, "\n## `{title}`\n\n");
    keys(text, schema);
}

/// The kinds that a key can have.
fn choices(text: &mut String, key: &str, schema: &Value) {
    for (kind, schema) in kinds(schema) {
        let _ = write!(text, "\n### `{key}.{kind}`\n\n");
        keys(text, &schema);
    }
}

fn keys(text: &mut String, schema: &Value) {
    if let Some(description) = schema["description"].as_str() {
        let _ = writeln!(text, "{}\n", one_line(description));
    }
    let Some(properties) = schema["properties"].as_object().filter(|keys| !keys.is_empty()) else {
        text.push_str("No keys.\n");
        return;
    };
    if properties.values().any(|schema| schema.get("$ref").is_some()) {
        text.push_str("Also takes the keys of `[train]`.\n\n");
    }
    text.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
    for (key, value) in properties.iter().filter(|(_, value)| value.get("$ref").is_none()) {
        let required =
            schema["required"].as_array().is_some_and(|names| names.iter().any(|name| name == key));
        let default = match (required, default(value)) {
            (true, _) => "required".to_owned(),
            (false, Some(default)) => format!("`{default}`"),
            (false, None) => "none".to_owned(),
        };
        let meaning = value["description"].as_str().map(one_line).unwrap_or_default();
        let words = words(value);
        let _ = writeln!(text, "| `{key}` | {} | {default} | {meaning}{words} |", type_of(value));
    }
}

/// Every metric, by its name in tables and in `select`.
fn metrics(text: &mut String) {
    text.push_str("\n## Metrics\n\n| name | better | meaning |\n|---|---|---|\n");
    for metric in metric::METRICS {
        let better = if metric.higher_is_better { "higher" } else { "lower" };
        let _ = writeln!(text, "| `{}` | {better} | {} |", metric.name, metric.summary);
    }
}

fn default(schema: &Value) -> Option<String> {
    match schema.get("default")? {
        Value::Null => None,
        Value::Object(object) if object.is_empty() => None,
        // The default of a choice is its name; its options have their own defaults.
        Value::Object(object) if schema["oneOf"].is_array() => object.keys().next().cloned(),
        value => Some(value.to_string().replace('|', "\\|")),
    }
}

fn type_of(schema: &Value) -> String {
    if let Some(parts) = ["oneOf", "anyOf"].iter().find_map(|key| schema[*key].as_array()) {
        let is_word = |part: &&Value| part["const"].is_string() || part["enum"].is_array();
        return match parts.iter().find(|part| part["type"] != "null") {
            Some(first) if parts.len() == 2 && parts.iter().any(|part| part["type"] == "null") => {
                type_of(first)
            }
            _ if parts.iter().all(|part| is_word(&part)) => "one word".to_owned(),
            _ => "one of several".to_owned(),
        };
    }
    if schema["enum"].is_array() {
        return "one word".to_owned();
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    match kinds.into_iter().find(|kind| *kind != "null") {
        Some("array") => match schema["maxItems"].as_u64() {
            Some(len) => format!("{len} × {}", type_of(&schema["items"])),
            None => format!("list of {}", type_of(&schema["items"])),
        },
        Some("object") => "table".to_owned(),
        Some(kind) => kind.to_owned(),
        None => "any".to_owned(),
    }
}

/// The allowed words of a value, with their meanings.
fn words(schema: &Value) -> String {
    let parts = ["oneOf", "anyOf"].iter().find_map(|key| schema[*key].as_array());
    let parts = parts.into_iter().flatten().filter(|part| part["type"] != "null");
    let word = |part: &Value| -> Option<String> {
        if let Some(nested) = part["oneOf"].as_array() {
            return Some(nested.iter().filter_map(meaning).collect::<Vec<_>>().concat());
        }
        meaning(part)
    };
    parts.filter_map(word).collect::<Vec<_>>().concat()
}

fn meaning(part: &Value) -> Option<String> {
    let word = part["const"].as_str()?;
    let text = part["description"].as_str().map(one_line).unwrap_or_default();
    Some(format!(" `{word}`: {text}"))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
