//! How long the models of a table were trained, for its note.

use indexmap::IndexMap;

use super::Pivot;
use super::text::label;

/// Training on the data set of a score: of its model, and of everything that this was made from. Steps of a head alone,
/// which take stored features, do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Steps {
    /// Optimizer steps.
    pub steps: usize,
    /// Images in the batches of these steps; an image counts each time that it comes.
    pub images: usize,
}

impl std::ops::AddAssign for Steps {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.images += other.images;
    }
}

/// The fewest and the most of a row.
pub(super) type Range = (Steps, Steps);

/// The range of a row's scores; `None` if none of them is known.
pub(super) fn range(of_scores: impl Iterator<Item = Option<Steps>>) -> Option<Range> {
    of_scores.flatten().fold(None, |range, Steps { steps, images }| {
        let (least, most) = range.unwrap_or((Steps { steps, images }, Steps { steps, images }));
        let least = Steps { steps: least.steps.min(steps), images: least.images.min(images) };
        let most = Steps { steps: most.steps.max(steps), images: most.images.max(images) };
        Some((least, most))
    })
}

/// Rows with as many steps are named together. `None` unless the spec asks for it.
pub(super) fn sentence(pivot: &Pivot) -> Option<String> {
    let mut rows: IndexMap<Range, Vec<String>> = IndexMap::new();
    for line in pivot.lines.iter().filter(|_| pivot.spec.steps) {
        rows.entry(line.steps?).or_default().push(label(&line.label));
    }
    let of = |((least, most), rows): (&Range, &Vec<String>)| {
        let [steps, images] = [(least.steps, most.steps), (least.images, most.images)].map(between);
        format!("{steps} ({images} images) for {}", rows.join(", "))
    };
    let rows: Vec<String> = rows.iter().map(of).collect();
    let scope = "of a model and all that it was made from (steps of the head alone not counted)";
    (!rows.is_empty()).then(|| format!("Optimizer steps on the data set, {scope}: {}.", rows.join("; ")))
}

fn between((least, most): (usize, usize)) -> String {
    if least == most { least.to_string() } else { format!("{least} to {most}") }
}

#[cfg(test)]
mod tests {
    use super::super::example::{axes, scores, spec};
    use super::super::{Score, TableSpec};
    use super::*;

    #[test]
    fn rows_with_as_many_steps_are_named_together() {
        let mut scores = scores();
        for score in &mut scores {
            let steps = match (score.model.as_str(), score.dataset.as_str()) {
                ("MedMerge + FT", _) => 80,
                (_, "lesions") => 200,
                _ => 300,
            };
            score.steps = Some(Steps { steps, images: 64 * steps });
        }
        let spec = TableSpec { steps: true, ..spec() };
        let said = |spec: &TableSpec, scores: &[Score]| {
            sentence(&Pivot::new("main", spec, &axes(), scores).unwrap())
        };
        insta::assert_snapshot!(said(&spec, &scores).unwrap(), @"Optimizer steps on the data set, of a model and all that it was made from (steps of the head alone not counted): 200 to 300 (12800 to 19200 images) for LP-FT A, Average + FT; 80 (5120 images) for MedMerge + FT.");
        assert_eq!(said(&TableSpec { steps: false, ..spec.clone() }, &scores), None);
        scores.iter_mut().for_each(|score| score.steps = None);
        assert_eq!(said(&spec, &scores), None, "scores that were read from a file");
    }
}
