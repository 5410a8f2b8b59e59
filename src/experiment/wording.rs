//! serde's messages in the words of an experiment file.

use std::sync::LazyLock;

use serde::Deserialize;
use toml::de::ValueDeserializer;

use super::suggest;
use train::TrainSpec;

/// The keys of `[train]`, which a stage that trains takes as its own.
pub(super) static TRAIN_KEYS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let unknown = ValueDeserializer::parse("{ '' = 0 }").and_then(TrainSpec::deserialize);
    unknown.err().map(|error| quoted(error.message()).split_off(1)).unwrap_or_default()
});

/// What serde found, as a message and what to do. `other_keys` would have been right beside those that serde knows.
pub(super) fn reword(message: &str, other_keys: &[&str]) -> (String, Option<String>) {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let (key, known) = word_and_candidates(rest);
        let known: Vec<&str> = as_strs(&known).into_iter().chain(other_keys.iter().copied()).collect();
        (format!("unknown key `{key}`"), suggest::help(&key, &known))
    } else if let Some(rest) = message.strip_prefix("unknown variant ") {
        let (word, known) = word_and_candidates(rest);
        (format!("unknown value `{word}`"), suggest::help(&word, &as_strs(&known)))
    } else if let Some((found, expected)) = mismatch(message) {
        (format!("expected {}, found {}", expectation(expected), finding(found)), None)
    } else {
        (plain(message).to_owned(), None)
    }
}

/// The key that serde missed.
pub(super) fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// The key that was probably meant by one that serde does not know.
pub(super) fn meant(message: &str) -> Option<String> {
    let (key, known) = word_and_candidates(message.strip_prefix("unknown field ")?);
    suggest::nearest(&key, &as_strs(&known)).map(str::to_owned)
}

/// The values that serde would have taken.
pub(super) fn variants(message: &str) -> Vec<String> {
    message.strip_prefix("unknown variant ").map(|rest| word_and_candidates(rest).1).unwrap_or_default()
}

/// Whether serde looked for one variant of an enum and found none.
pub(super) fn is_empty_choice(message: &str) -> bool {
    message == "wanted exactly 1 element, found 0 elements"
}

fn mismatch(message: &str) -> Option<(&str, &str)> {
    let kinds = ["invalid type: ", "invalid value: ", "invalid length "];
    let rest = kinds.iter().find_map(|kind| message.strip_prefix(kind))?;
    rest.rsplit_once(", expected ")
}

fn plain(message: &str) -> &str {
    match message {
        "wanted exactly 1 element, found 0 elements" => "nothing is named here; expected exactly one",
        "wanted exactly 1 element, more than 1 element" => {
            "more than one is named here; expected exactly one"
        }
        "wanted string or table" => "expected a string",
        other => other,
    }
}

fn expectation(expected: &str) -> &str {
    match expected {
        "usize" | "u64" | "u32" => "a whole number from 0",
        "f64" | "f32" => "a number",
        "path string" => "a path",
        "a sequence" => "an array",
        "a map" => "a table",
        "struct Normalize" => "\"imagenet\" or a table with `mean` and `std`",
        "an array of length 2" => "an array of 2",
        "an array of length 3" => "an array of 3",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

fn finding(found: &str) -> String {
    let renamed = [("floating point ", "float "), ("sequence", "an array"), ("map", "a table")];
    let renaming = renamed.iter().find_map(|(old, new)| Some(format!("{new}{}", found.strip_prefix(old)?)));
    match found.parse::<usize>() {
        Ok(length) => format!("{length}"),
        Err(_) => renaming.unwrap_or_else(|| found.to_owned()),
    }
}

/// The word that serde quotes first, and the others; `train` means the keys that it stands for.
fn word_and_candidates(rest: &str) -> (String, Vec<String>) {
    // the word may itself hold backquotes: it ends where the expectation begins
    let end = ["`, expected ", "`, there are no "].iter().filter_map(|end| rest.rfind(end)).next_back();
    let (word, expected) = rest.split_at(end.unwrap_or(rest.len()));
    let known = quoted(expected.strip_prefix('`').unwrap_or(expected));
    let spread = |known: String| if known == "train" { TRAIN_KEYS.clone() } else { vec![known] };
    (word.trim_start_matches('`').to_owned(), known.into_iter().flat_map(spread).collect())
}

fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn as_strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_train_are_those_of_its_spec() {
        assert_eq!(TRAIN_KEYS.first().map(String::as_str), Some("epochs"));
        assert_eq!(TRAIN_KEYS.last().map(String::as_str), Some("seed"));
    }

    #[test]
    fn messages_speak_of_keys_and_values() {
        let reworded = |message| {
            let (message, help) = reword(message, &[]);
            format!("{message} | {}", help.unwrap_or_default())
        };
        for (message, expected) in [
            (
                "unknown field `epoch`, expected one of `from`, `train`",
                "unknown key `epoch` | did you mean `epochs`?",
            ),
            ("unknown field `x`, expected `a` or `b`", "unknown key `x` | expected one of `a`, `b`"),
            ("unknown field `a`b`, there are no fields", "unknown key `a`b` | "),
            (
                "unknown variant `heads`, expected `all` or `head`",
                "unknown value `heads` | did you mean `head`?",
            ),
            (
                "invalid type: string \"a, expected b\", expected usize",
                "expected a whole number from 0, found string \"a, expected b\" | ",
            ),
            ("invalid type: map, expected f64", "expected a number, found a table | "),
            ("invalid length 1, expected an array of length 2", "expected an array of 2, found 1 | "),
            (
                "invalid type: floating point `1.5`, expected u64",
                "expected a whole number from 0, found float `1.5` | ",
            ),
            ("wanted string or table", "expected a string | "),
        ] {
            assert_eq!(reworded(message), expected);
        }
    }
}
