//! Which keys of a spec enter the fingerprint.

use serde::Serialize;
use serde_json::Value;

/// A spec as JSON. Implemented for every [`Serialize`] type.
pub trait Spec {
    /// Every key, with defaults filled in; deserializing it gives the same spec.
    fn to_json(&self) -> Value;
}

impl<T: Serialize> Spec for T {
    fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("specs have string keys and serialize without failing")
    }
}

/// Which keys of a spec enter the fingerprint: all except those in [`left_out`](Self::left_out).
pub trait Identity: Spec {
    /// Keys that do not change the result or that enter another way: names of stages and data sets (their fingerprints
    /// enter instead) and paths (the content of the files enters instead).
    fn left_out(&self) -> &'static [&'static str] {
        &[]
    }

    /// The options that determine the result. A spec that contains another spec includes the options of the inner one.
    fn options(&self) -> Value {
        without(self.to_json(), self.left_out())
    }
}

/// Replaces the value of an existing key of an object.
pub fn replaced(mut options: Value, key: &str, value: Value) -> Value {
    if let Some(old) = options.get_mut(key) {
        *old = value;
    }
    options
}

/// Removes keys from an object.
pub fn without(mut options: Value, keys: &[&str]) -> Value {
    if let Value::Object(object) = &mut options {
        object.retain(|key, _| !keys.contains(&key.as_str()));
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Probe {
        from: String,
        epochs: usize,
    }

    impl Identity for Probe {
        fn left_out(&self) -> &'static [&'static str] {
            &["from"]
        }
    }

    #[test]
    fn every_key_enters_unless_it_is_left_out() {
        let probe = Probe { from: "source".into(), epochs: 3 };
        assert_eq!(probe.options(), serde_json::json!({ "epochs": 3 }));
        assert_eq!(probe.to_json(), serde_json::json!({ "from": "source", "epochs": 3 }));
    }
}
