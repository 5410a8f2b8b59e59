//! What a page shows several times, the axes of charts and images, is defined once and then referred to.

use std::collections::HashMap;

/// The start and end of a group that may be shared; no group is inside of one.
const START: &str = "<g class=\"frame\"";
const END: &str = "</g>";

/// The definitions, empty if there are none, and the text that refers to them.
pub(super) fn shared(text: &str) -> (String, String) {
    let mut parts = text.split(START);
    let mut rest = parts.next().unwrap_or_default().to_owned();
    let groups: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once(END)).collect();
    let mut uses: HashMap<&str, usize> = HashMap::new();
    groups.iter().for_each(|(group, _)| *uses.entry(group).or_default() += 1);
    let (mut ids, mut definitions) = (HashMap::new(), String::new());
    for (group, after) in groups {
        if uses[group] == 1 {
            rest += &[START, group, END].concat();
        } else {
            let next = ids.len();
            let id = *ids.entry(group).or_insert_with(|| {
                definitions += &format!("<g id=\"g{next}\"{group}{END}");
                next
            });
            rest += &format!("<use href=\"#g{id}\"/>");
        }
        rest += after;
    }
    (definitions, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_occurs_twice_is_defined_once() {
        let group =
            |inside: &str| format!("<g class=\"frame\" text-anchor=\"end\"><text>{inside}</text></g>");
        let [a, b, c] = ["a", "b", "c"].map(group);
        let (definitions, text) = shared(&format!("<svg>{a}1</svg>{b}<i>{c}{a}</i>{c}"));
        assert_eq!(
            text,
            format!(
                "<svg><use href=\"#g0\"/>1</svg>{b}<i><use href=\"#g1\"/><use href=\"#g0\"/></i><use href=\"#g1\"/>"
            )
        );
        let of = |id: usize, inside: &str| {
            format!("<g id=\"g{id}\" text-anchor=\"end\"><text>{inside}</text></g>")
        };
        assert_eq!(definitions, of(0, "a") + &of(1, "c"));
        assert_eq!(shared("<p>none</p>"), (String::new(), "<p>none</p>".to_owned()));
    }
}
