//! Names of tensors: prefixes that other programs put before them, and lists of names for messages.

use std::collections::BTreeMap;

/// Prefixes of models in wrappers: `DataParallel`, Lightning, self-supervised training. They may be combined.
const PREFIXES: [&str; 4] = ["module.", "model.", "encoder.", "backbone."];

/// The maximum number of names in a list.
const SHOWN: usize = 5;

/// The prefixes with which most tensors have names that are wanted, and more than without.
pub(super) fn likely_prefixes<'t, T>(tensors: &'t BTreeMap<String, T>, wanted: &[String]) -> Vec<&'t str> {
    let matches = |prefix: &str| {
        let prefixed = |name: &&String| tensors.contains_key(&format!("{prefix}{name}"));
        wanted.iter().filter(prefixed).count()
    };
    let first = wanted.first().map_or("", String::as_str);
    let prefixes = tensors.keys().filter_map(|name| name.strip_suffix(first));
    let counted: Vec<_> = prefixes.map(|prefix| (matches(prefix), prefix)).collect();
    let most = counted.iter().map(|(count, _)| *count).max().unwrap_or(0);
    if most <= matches("") {
        return Vec::new();
    }
    counted.into_iter().filter(|(count, _)| *count == most).map(|(_, prefix)| prefix).collect()
}

/// Whether a prefix consists of usual ones.
pub(super) fn is_usual(prefix: &str) -> bool {
    let rest = PREFIXES.iter().find_map(|usual| prefix.strip_prefix(usual));
    rest.is_some_and(|rest| rest.is_empty() || is_usual(rest))
}

/// Remove a prefix from all names. Returns the tensors whose names start with it, and the names of the others.
pub(super) fn without_prefix<T>(
    tensors: BTreeMap<String, T>,
    prefix: &str,
) -> (BTreeMap<String, T>, Vec<String>) {
    let (mut stripped, mut others) = (BTreeMap::new(), Vec::new());
    for (name, tensor) in tensors {
        match name.strip_prefix(prefix) {
            Some(rest) => drop(stripped.insert(rest.to_owned(), tensor)),
            None => others.push(name),
        }
    }
    (stripped, others)
}

/// The first names in backticks, and the number of further ones.
pub(super) fn list<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let mut names = names.into_iter();
    let shown: Vec<String> = names.by_ref().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match names.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn likely(names: &[&str]) -> Vec<String> {
        let tensors: BTreeMap<String, ()> = names.iter().map(|name| ((*name).to_owned(), ())).collect();
        let wanted = ["conv1.weight", "bn1.weight", "layer1.0.conv1.weight"].map(String::from);
        likely_prefixes(&tensors, &wanted).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn f07_a_prefix_is_likely_if_it_explains_more_names_than_none() {
        assert_eq!(likely(&["conv1.weight", "bn1.weight", "layer1.0.conv1.weight"]), [""; 0]);
        assert_eq!(
            likely(&["a.conv1.weight", "a.bn1.weight", "a.layer1.0.conv1.weight", "b.weight"]),
            ["a."]
        );
        assert_eq!(
            likely(&["q.conv1.weight", "q.bn1.weight", "k.conv1.weight", "k.bn1.weight"]),
            ["k.", "q."]
        );
        assert_eq!(likely(&["bn1.weight", "layer1.0.conv1.weight"]), [""; 0], "only one is missing");
        assert_eq!(likely(&["x"]), [""; 0]);
    }

    #[test]
    fn f07_usual_prefixes_may_be_combined() {
        for prefix in ["module.", "model.", "module.encoder.", "backbone."] {
            assert!(is_usual(prefix), "{prefix}");
        }
        for prefix in ["", "module", "module.encoder_q.", "net."] {
            assert!(!is_usual(prefix), "{prefix}");
        }
    }

    #[test]
    fn a_long_list_is_cut_short() {
        assert_eq!(list(["a", "b"]), "`a`, `b`");
        assert_eq!(list(["a"; 7]), "`a`, `a`, `a`, `a`, `a` and 2 more");
    }
}
