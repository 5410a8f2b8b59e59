//! `over`: the axes that a table takes means over.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One axis, `"seed"`, or several that are crossed, `["seed", "source_seed"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over(Vec<String>);

impl Over {
    /// The axes, in the order of the file.
    pub fn axes(&self) -> &[String] {
        &self.0
    }

    /// Whether there are several axes.
    pub fn is_crossed(&self) -> bool {
        self.0.len() > 1
    }

    /// The same with each axis replaced.
    pub fn map(&self, name: impl FnMut(&String) -> String) -> Self {
        Self(self.0.iter().map(name).collect())
    }
}

impl Default for Over {
    /// Over seeds.
    fn default() -> Self {
        "seed".into()
    }
}

impl From<&str> for Over {
    fn from(axis: &str) -> Self {
        Self(vec![axis.to_owned()])
    }
}

impl<const N: usize> From<[&str; N]> for Over {
    fn from(axes: [&str; N]) -> Self {
        Self(axes.map(str::to_owned).into())
    }
}

impl Serialize for Over {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [axis] => serializer.serialize_str(axis),
            axes => axes.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Over {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrSeveral)
    }
}

struct OneOrSeveral;

impl<'de> Visitor<'de> for OneOrSeveral {
    type Value = Over;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_str<E>(self, axis: &str) -> Result<Over, E> {
        Ok(axis.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Over, A::Error> {
        let mut axes = Vec::new();
        while let Some(axis) = sequence.next_element()? {
            axes.push(axis);
        }
        Ok(Over(axes))
    }
}

impl JsonSchema for Over {
    fn schema_name() -> Cow<'static, str> {
        "Over".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "array"], "items": { "type": "string" } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_axis_is_a_word_and_several_are_a_list() {
        for (written, axes) in [
            ("\"seed\"", &["seed"][..]),
            ("[\"seed\"]", &["seed"]),
            ("[\"seed\",\"source_seed\"]", &["seed", "source_seed"]),
        ] {
            let over: Over = serde_json::from_str(written).unwrap();
            assert_eq!(
                (over.axes(), over.is_crossed()),
                (&*axes.iter().map(|axis| (*axis).to_owned()).collect::<Vec<_>>(), axes.len() > 1)
            );
            let again: Over = serde_json::from_str(&serde_json::to_string(&over).unwrap()).unwrap();
            assert_eq!(again, over);
        }
        assert_eq!(serde_json::to_string(&Over::from(["seed"])).unwrap(), "\"seed\"");
        assert!(serde_json::from_str::<Over>("1").is_err());
    }
}
