//! Options that differ between two lists of fields.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::identity::Field;

/// An option with two values; `None` where it does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(super) struct Change {
    pub(super) option: String,
    pub(super) a: Option<String>,
    pub(super) b: Option<String>,
}

/// What differs, by path. Of a path with several values, those that only one list has are paired in order.
pub(super) fn changes<'f>(
    a: impl IntoIterator<Item = &'f Field>,
    b: impl IntoIterator<Item = &'f Field>,
) -> Vec<Change> {
    let (mut a, b) = (by_path(a), by_path(b));
    let mut pairs: BTreeMap<&str, [Vec<&str>; 2]> = BTreeMap::new();
    for (path, values) in b {
        pairs.insert(path, [a.remove(path).unwrap_or_default(), values]);
    }
    pairs.extend(a.into_iter().map(|(path, values)| (path, [values, Vec::new()])));
    pairs.into_iter().flat_map(|(path, values)| of_path(path, values)).collect()
}

fn by_path<'f>(fields: impl IntoIterator<Item = &'f Field>) -> BTreeMap<&'f str, Vec<&'f str>> {
    let mut values: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for field in fields {
        values.entry(field.path.as_str()).or_default().push(field.value.trim_matches('"'));
    }
    values
}

fn of_path(path: &str, [mut a, mut b]: [Vec<&str>; 2]) -> Vec<Change> {
    a.retain(|value| match b.iter().position(|other| other == value) {
        Some(position) => {
            b.remove(position);
            false
        }
        None => true,
    });
    let value = |values: &[&str], i: usize| values.get(i).map(|value| (*value).to_owned());
    let change = |i| Change { option: path.to_owned(), a: value(&a, i), b: value(&b, i) };
    (0..a.len().max(b.len())).map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Vec<Field> {
        pairs.iter().map(|(path, value)| Field::new(*path, *value)).collect()
    }

    #[test]
    fn only_what_differs_is_found() {
        let a = fields(&[("epochs", "3"), ("lr", "\"1e-3\""), ("momentum", "0.9")]);
        let b = fields(&[("epochs", "3"), ("lr", "\"1e-4\""), ("decay", "0.1")]);
        let change = |option: &str, a: Option<&str>, b: Option<&str>| Change {
            option: option.to_owned(),
            a: a.map(str::to_owned),
            b: b.map(str::to_owned),
        };
        assert_eq!(
            changes(&a, &b),
            [
                change("decay", None, Some("0.1")),
                change("lr", Some("1e-3"), Some("1e-4")),
                change("momentum", Some("0.9"), None)
            ]
        );
        assert!(changes(&a, &a).is_empty());
    }

    #[test]
    fn several_values_of_a_path_are_compared_as_a_whole() {
        let a = fields(&[("model", "x"), ("model", "y"), ("model", "z")]);
        let b = fields(&[("model", "z"), ("model", "w"), ("model", "x")]);
        let found = changes(&a, &b);
        assert_eq!(found, [Change { option: "model".into(), a: Some("y".into()), b: Some("w".into()) }]);
    }
}
