//! The JSON Schema of experiment files, for editors: `medmerge schema`. It is generated from the types that files are
//! decoded into, and also allows what files may contain in addition: axes in strings, short forms, and missing keys
//! that are set in a part.

use dataset::{DatasetSpec, LabelBudget};
use kind::schema::schema_of;
use serde_json::{Map, Value, json};
use stage::StageSpec;
use train::TrainSpec;

use super::document::Header;
use super::shape::TRAIN;
use super::{FigureSpec, TableSpec};

/// The JSON Schema (draft 2020-12) of an experiment file or a part.
pub fn json_schema() -> Value {
    let named = |schema: Value| json!({ "type": "object", "additionalProperties": schema });
    let axis = json!({ "type": "array", "items": { "type": ["string", "number", "boolean"] } });
    let mut table = schema_of::<TableSpec>();
    table["properties"]["metrics"]["items"] = json!({ "enum": metric::NAMES });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "medmerge experiment",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "experiment": written(schema_of::<Header>()),
            "sweep": described("Axes: a stage that uses one runs once for each of its values.", named(axis)),
            "dataset": described("Data sets by name and kind.", named(section(datasets()))),
            "train": written(schema_of::<TrainSpec>()),
            "stage": described("Stages by name and kind.", named(section(stages()))),
            "table": described("Tables of scores by name.", named(written(table))),
            "figure": described("Figures by name and kind.", named(section(kinds(&schema_of::<FigureSpec>())))),
        },
    })
}

/// The schema of each kind of data set, including the keys common to all kinds.
pub(super) fn datasets() -> Vec<(String, Value)> {
    let budget = schema_of::<LabelBudget>();
    let mut kinds = kinds(&schema_of::<DatasetSpec>());
    for (_, schema) in &mut kinds {
        properties(schema).extend(budget["properties"].as_object().cloned().unwrap_or_default());
    }
    kinds
}

/// The schema of each kind of stage, including the keys of `[train]`.
pub(super) fn stages() -> Vec<(String, Value)> {
    let mut kinds = kinds(&schema_of::<StageSpec>());
    for (_, schema) in &mut kinds {
        let properties = properties(schema);
        if properties.shift_remove(TRAIN).is_some() {
            for key in super::shape::train_keys() {
                let reference = json!({ "$ref": format!("#/properties/train/properties/{key}") });
                properties.insert((*key).to_owned(), reference);
            }
        }
    }
    kinds
}

/// Name and schema of each variant of an enum of kinds. Its description is that of the variant, or else that of its
/// spec.
pub(super) fn kinds(schema: &Value) -> Vec<(String, Value)> {
    let alternative = |part: &Value| {
        let (name, schema) = part["properties"].as_object()?.iter().next()?;
        let mut schema = schema.clone();
        if let Some(description) = part.get("description") {
            schema["description"] = description.clone();
        }
        Some((name.clone(), schema))
    };
    schema["oneOf"].as_array().into_iter().flatten().filter_map(alternative).collect()
}

fn properties(schema: &mut Value) -> &mut Map<String, Value> {
    let object = schema.as_object_mut().expect("a spec's schema is an object");
    let properties = object.entry("properties").or_insert_with(|| json!({}));
    properties.as_object_mut().expect("properties are an object")
}

/// A section with one of several kinds.
fn section(kinds: Vec<(String, Value)>) -> Value {
    let kinds: Map<String, Value> = kinds.into_iter().map(|(name, schema)| (name, written(schema))).collect();
    json!({ "type": "object", "additionalProperties": false, "maxProperties": 1, "properties": kinds })
}

fn described(text: &str, mut schema: Value) -> Value {
    schema["description"] = text.into();
    schema
}

/// A type's schema, extended to what files may contain.
fn written(schema: Value) -> Value {
    let Value::Object(mut object) = schema else { return schema };
    // Required keys may be set in a part, or in `[train]`. A layout is for people.
    for key in ["required", "format", "title", "x-layout"] {
        object.shift_remove(key);
    }
    for key in ["properties", "additionalProperties", "items", "oneOf", "anyOf", "prefixItems"] {
        if let Some(inner) = object.get_mut(key) {
            *inner = match (key, std::mem::take(inner)) {
                ("properties", Value::Object(keys)) => {
                    keys.into_iter().map(|(name, schema)| (name, written(schema))).collect()
                }
                (_, Value::Array(parts)) => parts.into_iter().map(written).collect(),
                (_, inner) => written(inner),
            };
        }
    }
    let shorts = short_forms(&mut object);
    if shorts.is_empty() { Value::Object(object) } else { either(object, shorts) }
}

/// Strings allowed in place of a value: an axis, a kind without options, a preset.
fn short_forms(object: &mut Map<String, Value>) -> Vec<Value> {
    let axis = || json!({ "type": "string", "pattern": "\\$\\{" });
    let words = |words: Vec<&str>| json!({ "enum": words });
    if object.shift_remove("x-kinds").is_some() {
        let all = kinds(&Value::Object(object.clone()));
        return vec![words(all.iter().map(|(name, _)| name.as_str()).collect()), axis()];
    }
    if let Some(presets) = object.shift_remove("x-presets") {
        let presets = presets.as_object().into_iter().flatten();
        return vec![words(presets.map(|(word, _)| word.as_str()).collect()), axis()];
    }
    let is_scalar = |kind: &Value| matches!(kind.as_str(), Some("integer" | "number" | "boolean"));
    let is_scalar = match object.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(is_scalar),
        Some(kind) => is_scalar(kind),
        None => false,
    };
    let is_word = object.contains_key("enum") || object.get("oneOf").is_some();
    if is_scalar || is_word { vec![axis()] } else { Vec::new() }
}

/// The schema or one of `others`; description and default stay at the top level.
fn either(mut object: Map<String, Value>, others: Vec<Value>) -> Value {
    let mut outer = Map::new();
    for key in ["description", "default"] {
        if let Some(value) = object.shift_remove(key) {
            outer.insert(key.into(), value);
        }
    }
    let parts: Vec<Value> = std::iter::once(Value::Object(object)).chain(others).collect();
    outer.insert("anyOf".into(), parts.into());
    Value::Object(outer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_has_the_keys_of_train_and_its_own() {
        let schema = json_schema();
        let finetune = schema.pointer("/properties/stage/additionalProperties/properties/finetune").unwrap();
        let keys = finetune["properties"].as_object().unwrap();
        assert!(keys.contains_key("from") && keys.contains_key("epochs") && !keys.contains_key("train"));
        let epochs = keys["epochs"]["$ref"].as_str().unwrap();
        assert!(schema.pointer(epochs.trim_start_matches('#')).is_some(), "{epochs}");
    }

    #[test]
    fn every_kind_and_every_key_has_a_description() {
        fn check(path: &str, schema: &Value, without: &mut Vec<String>) {
            for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
                let path = format!("{path}.{key}");
                if schema.get("description").is_none() && schema.get("$ref").is_none() {
                    without.push(path.clone());
                }
                check(&path, schema, without);
            }
            for part in ["oneOf", "anyOf"].iter().filter_map(|key| schema[*key].as_array()).flatten() {
                check(path, part, without);
            }
            if schema["additionalProperties"].is_object() {
                check(path, &schema["additionalProperties"], without);
            }
        }
        let mut without = Vec::new();
        check("", &json_schema(), &mut without);
        // The key of a variant has the description of its spec.
        without.retain(|path| !path.ends_with(".keep") && !path.ends_with(".keep_multi_label"));
        assert_eq!(without, [""; 0]);
    }
}
