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
    for (kind, schema) in kinds(&schema_of::<FigureSpec>()) {
        section(&mut text, &format!("[figure.<name>.{kind}]"), &schema);
    }
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
        let _ = writeln!(text, "{}\n", escaped(&one_line(description)));
    }
    let Some(properties) = schema["properties"].as_object().filter(|keys| !keys.is_empty()) else {
        text.push_str("No keys.\n");
        return;
    };
    if properties.values().any(|schema| schema.get("$ref").is_some()) {
        text.push_str("Also takes the keys of `[train]`.\n\n");
    }
    text.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
    for KeyReference { name, value, default, meaning } in rows(schema) {
        let default = match default {
            KeyDefault::Required => "required".to_owned(),
            KeyDefault::None => "none".to_owned(),
            KeyDefault::Value(value) => format!("`{}`", escaped(&value)),
        };
        let _ = writeln!(text, "| `{name}` | {value} | {default} | {} |", escaped(&meaning));
    }
}

/// A kind of data set, for readers.
#[derive(Clone, Debug, PartialEq)]
pub struct KindReference {
    /// Its name in experiment files.
    pub name: String,
    /// What it is, as sentences.
    pub summary: String,
    /// The layout of its files, in Markdown.
    pub layout: String,
    /// Its keys, each followed by those within it.
    pub keys: Vec<KeyReference>,
}

/// A key of an experiment file.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyReference {
    /// Dotted name.
    pub name: String,
    /// What values it takes.
    pub value: String,
    /// Its default.
    pub default: KeyDefault,
    /// What it means, and what its words mean.
    pub meaning: String,
}

/// What holds if a key is absent.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyDefault {
    /// That is an error.
    Required,
    /// Nothing in its place.
    None,
    /// This value, in TOML or JSON.
    Value(String),
}

/// Every kind of data set, in the order of the guide.
pub fn dataset_kinds() -> Vec<KindReference> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = |(name, schema): (String, Value)| KindReference {
        name,
        summary: one_line(&text(&schema["description"])),
        layout: text(&schema["x-layout"]),
        keys: nested(&schema),
    };
    datasets().into_iter().map(kind).collect()
}

/// The keys of a table, each followed by those within it.
fn nested(schema: &Value) -> Vec<KeyReference> {
    let mut all = Vec::new();
    for row in rows(schema) {
        let within = &schema["properties"][&row.name];
        let name = row.name.clone();
        all.push(row);
        all.extend(within_key(within).into_iter().map(|row| prefixed(&name, row)));
    }
    all
}

/// The keys within a key: those of a table, or of each kind.
fn within_key(schema: &Value) -> Vec<KeyReference> {
    let mut parts = schema["anyOf"].as_array().into_iter().flatten();
    let table = parts.find(|part| part["type"] != "null").unwrap_or(schema);
    let of_kind = |(kind, schema): (String, Value)| {
        nested(&schema).into_iter().map(move |row| prefixed(&kind, row)).collect::<Vec<_>>()
    };
    nested(table).into_iter().chain(kinds(table).into_iter().flat_map(of_kind)).collect()
}

fn prefixed(key: &str, row: KeyReference) -> KeyReference {
    KeyReference { name: format!("{key}.{}", row.name), ..row }
}

/// The keys of a table.
fn rows(schema: &Value) -> Vec<KeyReference> {
    let required = |key: &String| {
        schema["required"].as_array().is_some_and(|names| names.iter().any(|name| name == key))
    };
    let row = |(key, value): (&String, &Value)| KeyReference {
        name: key.clone(),
        value: type_of(value),
        default: match (required(key), default(value)) {
            (true, _) => KeyDefault::Required,
            (false, None) => KeyDefault::None,
            (false, Some(default)) => KeyDefault::Value(default),
        },
        meaning: value["description"].as_str().map(one_line).unwrap_or_default() + &words(value),
    };
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties.filter(|(_, value)| value.get("$ref").is_none()).map(row).collect()
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
        value => Some(value.to_string()),
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
    if kinds == ["string", "array"] {
        return format!("string or list of {}", type_of(&schema["items"]));
    }
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
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text in a cell of a Markdown table.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}
