//! The names of intervals and tests, and of what they take as random: for notes, files and figures.

use super::Pivot;
use super::note::{applicable, percent};
use super::spec::{CompareSpec, IntervalKind, Test};
use super::text::{label, most};

/// What a comparison was tested with, as in the note; `None` for a table without comparisons.
pub fn compared_by(pivot: &Pivot) -> Option<String> {
    pivot.spec.compare.as_ref().map(|compare| test(pivot, compare))
}

/// The test of a comparison.
pub(super) fn test(pivot: &Pivot, compare: &CompareSpec) -> String {
    let (over, resamples) = (axes(pivot), pivot.spec.resamples);
    match compare.test {
        Test::PairedBootstrap => format!("paired bootstrap over {} ({resamples} resamples)", random(pivot)),
        Test::RandomEffects => {
            format!(
                "paired t test with random effects of {} ({resamples} resamples of images)",
                random(pivot)
            )
        }
        Test::Wilcoxon => format!("Wilcoxon signed-rank test over {over}"),
        Test::TTest => format!("paired t test over {over}"),
    }
}

/// The interval of a mean.
pub(super) fn interval(pivot: &Pivot, kind: IntervalKind) -> String {
    let (percent, resamples) = (percent(pivot.spec.confidence), pivot.spec.resamples);
    let random = random(pivot);
    match kind {
        IntervalKind::Bootstrap => {
            format!("its {percent} % bootstrap interval over {random} ({resamples} resamples, percentiles)")
        }
        IntervalKind::RandomEffects => format!(
            "its {percent} % interval by Student's t with random effects of {random} ({resamples} resamples of images)"
        ),
    }
}

/// What is random: images or groups of them and, where a cell has several scores, the axes with several values.
fn random(pivot: &Pivot) -> String {
    let images = match pivot.groups.len() {
        0 => "images",
        all if all == pivot.images.len() => "groups of images",
        _ => "images or groups of images",
    };
    match most(pivot) {
        1 => images.to_owned(),
        _ => listed([images.to_owned()].into_iter().chain(random_axes(pivot))),
    }
}

/// The axes of `over` with several values: a single value is the same for all scores.
fn random_axes(pivot: &Pivot) -> impl Iterator<Item = String> {
    let axes = pivot.spec.over.axes().iter().zip(&pivot.over);
    axes.filter(|(_, values)| applicable(values).count() > 1).map(|(axis, _)| label(axis))
}

/// The axes of `over`.
pub(super) fn axes(pivot: &Pivot) -> String {
    listed(pivot.spec.over.axes().iter().map(|axis| label(axis)))
}

/// `a`, `a and b`, `a, b, and c`.
fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first, second] => format!("{first} and {second}"),
        [first @ .., last] => format!("{}, and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed() {
        let listed = |names: &[&str]| listed(names.iter().map(ToString::to_string));
        assert_eq!(
            [&[][..], &["a"], &["a", "b"], &["a", "b", "c"]].map(listed),
            ["", "a", "a and b", "a, b, and c"]
        );
    }
}
