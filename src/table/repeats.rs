//! Rows that do not depend on an axis of `over`, so that a score of one model stands there for each value.

use std::collections::HashSet;

use super::Pivot;
use super::layout::Scores;
use super::text::label;

/// The axes of `over`, by their positions, along which scores repeat: scores of one model with the same value.
pub(super) fn axes(cells: &[Scores<'_>], count: usize) -> Vec<usize> {
    let repeats = |axis: &usize| cells.iter().any(|scores| repeat(scores, *axis));
    (0..count).filter(repeats).collect()
}

fn repeat(scores: &Scores<'_>, axis: usize) -> bool {
    let mut before = HashSet::new();
    scores.iter().any(|(levels, score)| {
        let Some(model) = &score.model_fingerprint else { return false };
        let others: Vec<&str> =
            levels.iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, level)| *level).collect();
        !before.insert((model, &score.dataset, score.value.map(f64::to_bits), others))
    })
}

/// Which rows repeat their scores, by axis; `None` if none does.
pub(super) fn sentence(pivot: &Pivot) -> Option<String> {
    let along = |(i, axis): (usize, &String)| {
        let lines = pivot.lines.iter().filter(|line| line.repeats.contains(&i));
        let rows: Vec<String> = lines.map(|line| label(&line.label)).collect();
        (!rows.is_empty()).then(|| format!("of {} for each {}", rows.join(", "), label(axis)))
    };
    let repeated: Vec<String> = pivot.spec.over.axes().iter().enumerate().filter_map(along).collect();
    (!repeated.is_empty()).then(|| format!("Scores of one model repeat: {}.", repeated.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::super::example::{axes as names, scores, spec};
    use super::super::{Score, TableSpec};
    use super::*;

    /// A model per seed for one row, and one model for all seeds in another.
    fn of_models() -> Vec<Score> {
        let mut scores = scores();
        for score in &mut scores {
            let is_one = score.model == "LP-FT A";
            let seed = if is_one { "" } else { score.seed.as_str() };
            score.model_fingerprint = Some(format!("{} {seed}", score.model));
            score.value = score.value.map(|value| if is_one { 0.5 } else { value });
        }
        scores
    }

    #[test]
    fn a_row_of_one_model_is_named_and_a_row_of_several_is_not() {
        let said = |scores: &[Score]| sentence(&Pivot::new("main", &spec(), &names(), scores).unwrap());
        assert_eq!(said(&of_models()).unwrap(), "Scores of one model repeat: of LP-FT A for each seed.");
        let mut unknown = of_models();
        unknown.iter_mut().for_each(|score| score.model_fingerprint = None);
        assert_eq!(said(&unknown), None, "scores that were read from a file");
    }

    #[test]
    fn one_model_on_other_images_does_not_repeat() {
        let mut scores = of_models();
        for (i, score) in scores.iter_mut().enumerate() {
            score.value = Some(i as f64 / 100.0);
        }
        let spec: TableSpec = spec();
        assert_eq!(sentence(&Pivot::new("main", &spec, &names(), &scores).unwrap()), None);
    }
}
