//! "Did you mean": the candidate closest to a misspelled word.

/// Minimum Jaro-Winkler similarity (0 to 1) for a word to count as a typo of another.
const ALIKE: f64 = 0.8;

/// Longer lists of candidates are not printed.
const MOST_LISTED: usize = 24;

/// The candidate most similar to `word`, if similar enough; the first one in case of a tie.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let word = plain(word);
    let mut best = None;
    for candidate in candidates {
        let alike = strsim::jaro_winkler(&word, &plain(candidate));
        if alike >= ALIKE && best.is_none_or(|(_, most)| alike > most) {
            best = Some((*candidate, alike));
        }
    }
    best.map(|(candidate, _)| candidate)
}

/// A help message: the closest candidate, or all of them.
pub fn help(word: &str, candidates: &[&str]) -> Option<String> {
    match (nearest(word, candidates), candidates) {
        (Some(nearest), _) => Some(format!("did you mean `{nearest}`?")),
        (None, []) => None,
        (None, [only]) => Some(format!("the only valid value is `{only}`")),
        (None, several) if several.len() <= MOST_LISTED => Some(format!("expected one of {}", list(several))),
        (None, _) => None,
    }
}

/// `a`, `b`, `c`
pub fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn plain(word: &str) -> String {
    word.to_lowercase().replace(['-', ' '], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_corrected() {
        let keys = ["epochs", "batch_size", "optimizer", "select", "seed"];
        for (word, meant) in [("epoch", "epochs"), ("Batch-Size", "batch_size"), ("optimiser", "optimizer")] {
            assert_eq!(nearest(word, &keys), Some(meant));
        }
        assert_eq!(nearest("momentum", &keys), None);
        assert_eq!(nearest("source_c", &["source_a", "source_b"]), Some("source_a"));
    }

    #[test]
    fn without_a_similar_word_all_are_listed() {
        assert_eq!(help("x", &["all", "head"]).unwrap(), "expected one of `all`, `head`");
        assert_eq!(help("x", &["all"]).unwrap(), "the only valid value is `all`");
        assert_eq!(help("heads", &["all", "head"]).unwrap(), "did you mean `head`?");
        assert_eq!(help("x", &[]), None);
    }
}
