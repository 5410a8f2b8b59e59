//! The validation score that selects the epoch to keep.

use std::borrow::Cow;

use metric::{ENTROPY, Metric, NAMES, by_name};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The word for no validation.
const NONE: &str = "none";

/// All words: every metric, the one without labels, and `none`.
const WORDS: &[&str] = &{
    let mut words = [NONE; NAMES.len() + 2];
    let mut i = 0;
    while i < NAMES.len() {
        words[i] = NAMES[i];
        i += 1;
    }
    words[i] = ENTROPY.name;
    words
};

/// The metric that selects the epoch to keep, or the entropy of predictions; `none` for the last epoch, without
/// validation.
#[derive(Clone, Copy, Debug)]
pub struct Select(Option<&'static Metric>);

impl Select {
    /// No validation: the last epoch is kept.
    pub const NONE: Self = Self(None);

    /// By a word of the experiment file.
    pub fn by(word: &str) -> Option<Self> {
        match word {
            NONE => Some(Self::NONE),
            word if word == ENTROPY.name => Some(Self(Some(&ENTROPY))),
            word => by_name(word).map(|metric| Self(Some(metric))),
        }
    }

    /// The metric; `None` for no validation.
    pub fn metric(self) -> Option<&'static Metric> {
        self.0
    }

    fn word(self) -> &'static str {
        self.0.map_or(NONE, |metric| metric.name)
    }
}

impl Default for Select {
    fn default() -> Self {
        Self(by_name("macro_f1"))
    }
}

impl PartialEq for Select {
    fn eq(&self, other: &Self) -> bool {
        self.word() == other.word()
    }
}

impl Serialize for Select {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl<'de> Deserialize<'de> for Select {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Self::by(&word).ok_or_else(|| de::Error::unknown_variant(&word, WORDS))
    }
}

impl JsonSchema for Select {
    fn schema_name() -> Cow<'static, str> {
        "Select".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": WORDS })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_the_metric_of_that_name_or_none() {
        for word in WORDS {
            let select: Select = serde_json::from_value((*word).into()).unwrap();
            assert_eq!(select.metric().map_or(NONE, |metric| metric.name), *word);
            assert_eq!(serde_json::to_value(select).unwrap(), *word);
        }
        assert_eq!(WORDS.len(), metric::METRICS.len() + 2);
        assert_eq!(Select::default().metric().unwrap().name, "macro_f1");
        assert!(serde_json::from_str::<Select>("\"macro f1\"").is_err());
    }
}
