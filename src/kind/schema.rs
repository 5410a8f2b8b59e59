//! The JSON Schema of a type, and its simplified form for checks: [`Shape`].

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// The JSON Schema (draft 2020-12) of a type, with references inlined.
pub fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(object) = schema.as_object_mut() {
        object.remove("title");
    }
    schema
}

/// The structure of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Anything.
    Any,
    /// `true` or `false`.
    Boolean,
    /// A non-negative integer.
    Integer,
    /// Any number.
    Number,
    /// A string.
    String,
    /// A string, or a list of strings.
    Strings,
    /// One of several words, or one of several keys with its value.
    Choice(Choice),
    /// A list of elements of one shape, possibly of fixed length.
    Array {
        /// Shape of each element.
        item: Box<Shape>,
        /// Number of elements, if fixed.
        len: Option<usize>,
    },
    /// A table with user-defined keys; all values have this shape.
    Map(Box<Shape>),
    /// A table with known keys.
    Table(TableShape),
}

/// One of several alternatives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// Alternatives written as a word.
    pub words: Vec<String>,
    /// Alternatives written as a table with one key: `{ key = … }`.
    pub keys: Vec<(String, Shape)>,
    /// Whether these are kinds. A kind may be written as a word if all of its keys have defaults.
    pub is_kinds: bool,
}

/// A table with known keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableShape {
    /// Keys in the order of declaration.
    pub keys: Vec<Key>,
    /// Words that stand for a whole table, with that table as TOML.
    pub presets: Vec<(String, &'static str)>,
}

/// A key of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Name in experiment files.
    pub name: String,
    /// Shape of its value.
    pub shape: Shape,
    /// Whether it has no default.
    pub required: bool,
}

impl TableShape {
    /// The names of the keys.
    pub fn names(&self) -> Vec<&str> {
        self.keys.iter().map(|key| key.name.as_str()).collect()
    }

    /// Finds a key by name.
    pub fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Choice {
    /// Names of all alternatives.
    pub fn names(&self) -> Vec<&str> {
        let keys = self.keys.iter().map(|(name, _)| name.as_str());
        self.words.iter().map(String::as_str).chain(keys).collect()
    }
}

impl Shape {
    /// Shape of the values of a type.
    pub fn for_type<T: JsonSchema>() -> Self {
        Self::read(&schema_of::<T>())
    }

    /// The table, if the shape is one.
    pub fn as_table(&self) -> Option<&TableShape> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The alternatives, if the shape is a choice.
    pub fn as_choice(&self) -> Option<&Choice> {
        match self {
            Self::Choice(choice) => Some(choice),
            _ => None,
        }
    }

    /// Whether the shape is a choice between kinds.
    pub fn is_kinds(&self) -> bool {
        self.as_choice().is_some_and(|choice| choice.is_kinds)
    }

    /// Converts a JSON Schema produced by [`schema_of`].
    pub fn read(schema: &Value) -> Self {
        let Some(object) = schema.as_object() else { return Self::Any };
        if let Some(alternatives) = alternatives(object) {
            let mut rest: Vec<&Value> = alternatives.iter().filter(|part| part["type"] != "null").collect();
            return match rest.len() {
                1 if !object.contains_key("x-kinds") => Self::read(rest.remove(0)),
                _ => Self::Choice(choice(object, rest)),
            };
        }
        if let Some(words) = object.get("enum").and_then(Value::as_array) {
            let words = words.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            return Self::Choice(Choice { words, ..Choice::default() });
        }
        if let Some(word) = object.get("const").and_then(Value::as_str) {
            return Self::Choice(Choice { words: vec![word.to_owned()], ..Choice::default() });
        }
        if is_strings(object) {
            return Self::Strings;
        }
        match type_of(object) {
            Some("boolean") => Self::Boolean,
            Some("integer") => Self::Integer,
            Some("number") => Self::Number,
            Some("string") => Self::String,
            Some("array") => Self::Array {
                item: Box::new(object.get("items").map_or(Self::Any, Self::read)),
                len: object.get("maxItems").and_then(Value::as_u64).map(|len| len as usize),
            },
            Some("object") => match object.get("additionalProperties") {
                Some(values) if values.is_object() => Self::Map(Box::new(Self::read(values))),
                _ => Self::Table(table(object)),
            },
            _ => Self::Any,
        }
    }
}

fn alternatives(object: &Map<String, Value>) -> Option<&Vec<Value>> {
    ["oneOf", "anyOf"].iter().find_map(|key| object.get(*key)?.as_array())
}

/// Whether a value is a string or a list of strings.
fn is_strings(object: &Map<String, Value>) -> bool {
    let types = object.get("type").and_then(Value::as_array);
    types.is_some_and(|types| {
        types.iter().any(|kind| kind == "string") && types.iter().any(|kind| kind == "array")
    })
}

/// The type other than `null`. TOML has no null; the key is omitted instead.
fn type_of(object: &Map<String, Value>) -> Option<&str> {
    match object.get("type")? {
        Value::Array(types) => types.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        single => single.as_str(),
    }
}

fn choice(object: &Map<String, Value>, alternatives: Vec<&Value>) -> Choice {
    let mut choice = Choice { is_kinds: object.contains_key("x-kinds"), ..Choice::default() };
    for part in alternatives {
        if let Some(word) = part["const"].as_str() {
            choice.words.push(word.to_owned());
        } else if let Some(words) = part["enum"].as_array() {
            choice.words.extend(words.iter().filter_map(Value::as_str).map(str::to_owned));
        } else if let Some((key, inner)) = part["properties"].as_object().and_then(|keys| keys.iter().next())
        {
            choice.keys.push((key.clone(), Shape::read(inner)));
        }
    }
    choice
}

fn table(object: &Map<String, Value>) -> TableShape {
    let required = |name: &String| {
        let listed = object.get("required").and_then(Value::as_array);
        listed.is_some_and(|names| names.iter().any(|listed| listed == name))
    };
    let key = |(name, schema): (&String, &Value)| Key {
        name: name.clone(),
        shape: Shape::read(schema),
        required: required(name),
    };
    let keys = object.get("properties").and_then(Value::as_object).into_iter().flatten();
    let presets = object.get("x-presets").and_then(Value::as_object).into_iter().flatten();
    TableShape {
        keys: keys.map(key).collect(),
        // Leaking is bounded: the shape of a type is computed once and kept.
        presets: presets.map(|(word, value)| (word.clone(), &*inline_toml(value).leak())).collect(),
    }
}

/// A value as inline TOML, which differs from JSON only in tables.
fn inline_toml(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::Object(object) => {
            let entries = object.iter().map(|(key, value)| format!("{key} = {}", inline_toml(value)));
            format!("{{ {} }}", list(entries.collect()))
        }
        Value::Array(items) => format!("[{}]", list(items.iter().map(inline_toml).collect())),
        scalar => scalar.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Serialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    #[derive(Default)]
    struct Options {
        /// How often.
        times: usize,
        rates: Option<[f64; 2]>,
        word: Word,
    }

    #[derive(Default, Serialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Word {
        /// The first.
        #[default]
        First,
        #[expect(dead_code, reason = "its schema alone is of interest")]
        Keep(Vec<String>),
    }

    #[test]
    fn a_schema_becomes_a_shape() {
        let shape = Shape::for_type::<Options>();
        let table = shape.as_table().unwrap();
        assert_eq!(table.names(), ["times", "rates", "word"]);
        assert!(table.keys.iter().all(|key| !key.required));
        assert_eq!(table.keys[0].shape, Shape::Integer);
        assert_eq!(table.keys[1].shape, Shape::Array { item: Box::new(Shape::Number), len: Some(2) });
        let word = table.keys[2].shape.as_choice().unwrap();
        assert_eq!((word.words.as_slice(), word.keys[0].0.as_str()), (&["first".to_owned()][..], "keep"));
        assert!(!word.is_kinds);
    }
}
