//! Whether models were trained from one start, as far as that is known.

use identity::Fingerprint;

/// Two of the named models that were trained from different starts: a model and the one that it is compared with, which
/// is the last if that is a base, else the first. Models whose start is unknown are left out.
pub(super) fn different<'a>(
    names: &'a [String],
    starts: &[Option<Fingerprint>],
    has_base: bool,
) -> Option<[&'a str; 2]> {
    let known = names.iter().zip(starts).filter_map(|(name, start)| Some((name, (*start)?)));
    let mut known: Vec<_> = known.collect();
    let (reference, start) = if has_base { known.pop()? } else { *known.first()? };
    let (other, _) = known.into_iter().find(|(_, other)| *other != start)?;
    Some([other, reference])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(name: &str) -> Option<Fingerprint> {
        Some(Fingerprint::of_parts([name]))
    }

    #[test]
    fn the_first_model_with_another_start_is_found() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let (x, y) = (start("x"), start("y"));
        for (starts, has_base, found) in [
            ([x, x, x], false, None),
            ([x, None, x], true, None),
            ([None, None, None], true, None),
            ([x, y, y], false, Some(["b", "a"])),
            ([x, y, y], true, Some(["a", "c"])),
            ([y, y, x], true, Some(["a", "c"])),
            ([None, x, y], false, Some(["c", "b"])),
        ] {
            assert_eq!(different(&names, &starts, has_base), found, "{starts:?}");
        }
    }
}
