//! Fields: the (path, value) pairs that are hashed into a fingerprint.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One thing that a fingerprint depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Field {
    /// `train.optimizer.adamw.lr`, `input.from`, `dataset.dataset`, …
    pub path: String,
    /// Canonical JSON for an option; the bare digest or word for anything else.
    pub value: String,
}

impl Field {
    /// A path and its value.
    pub fn new(path: impl Into<String>, value: impl Into<String>) -> Self {
        Self { path: path.into(), value: value.into() }
    }

    /// The fields of a set of options. Objects are flattened into paths; any other value, including a list, is one
    /// field.
    pub fn of_options(options: Value) -> Vec<Self> {
        let mut fields = Vec::new();
        flatten("", options, &mut fields);
        fields
    }
}

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

/// Appends a key to a path. A key that could be mistaken for a path is quoted, as in TOML.
fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if bare { key.to_string() } else { Value::from(key).to_string() };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_become_paths_and_lists_stay_whole() {
        let options = serde_json::json!({ "a": { "b c": 1, "d": {} }, "e": [{ "y": 1, "x": 2 }] });
        let fields = [("a.\"b c\"", "1"), ("a.d", "{}"), ("e", "[{\"x\":2,\"y\":1}]")];
        assert_eq!(Field::of_options(options), fields.map(|(path, value)| Field::new(path, value)));
        assert_eq!(Field::of_options(serde_json::json!({})), []);
    }
}
