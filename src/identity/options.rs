//! Which keys of a spec enter the fingerprint.

use serde::Serialize;
use serde_json::Value;

/// A spec as JSON; what implements [`Serialize`] has it.
pub trait Spec {
    /// Every key, defaults filled in. Reading it back gives the same spec.
    fn to_json(&self) -> Value;
}

impl<T: Serialize> Spec for T {
    fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("specs have string keys and serialize without failing")
    }
}

/// What of a spec enters the fingerprint of what it describes: every key but those that it names.
pub trait Identity: Spec {
    /// Keys that do not change the result, or that enter in another way: names of stages and data sets (what they
    /// refer to enters by its own fingerprint) and paths (the content of the files enters).
    fn left_out(&self) -> &'static [&'static str] {
        &[]
    }

    /// The options that decide the result. A spec that holds another one asks it for its options in turn.
    fn options(&self) -> Value {
        without(self.to_json(), self.left_out())
    }
}

/// An object with another value under a key that it has.
pub fn replaced(mut options: Value, key: &str, value: Value) -> Value {
    if let Some(old) = options.get_mut(key) {
        *old = value;
    }
    options
}

/// An object without some of its keys.
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
