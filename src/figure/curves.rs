//! Training curves: a row of panels per stage and place, one line per seed.

use chart::{Panel, Picture, Trained, file, losses, scores};
use experiment::figure_spec::curves::CurvesSpec;
use indexmap::IndexMap;
use table::number_text;

use super::tidy::{csv, values};
use super::{Files, Shown};

pub(super) fn files(name: &str, spec: &CurvesSpec, shown: &Shown<'_>) -> Files {
    let all: Vec<&Trained> = shown.trained.iter().filter(|one| spec.from.contains(&one.stage)).collect();
    if all.is_empty() {
        return Files::new();
    }
    let mut rows: IndexMap<String, Vec<&Trained>> = IndexMap::new();
    for one in &all {
        rows.entry(place(one)).or_default().push(one);
    }
    let panels: Vec<Vec<Option<Panel>>> = rows.iter().map(|(place, seeds)| panels(place, seeds)).collect();
    let caption = ["One line per seed; the dot is the epoch that is kept."];
    vec![("svg", file(&shown.title(name), &panels, &[], &caption)), ("csv", tidy(shown, &all))]
}

/// The stage and its axes other than the seed.
fn place(one: &Trained) -> String {
    let at = one.at.iter().filter(|(axis, _)| *axis != "seed").map(|(axis, value)| format!("{axis}={value}"));
    std::iter::once(one.stage.clone()).chain(at).collect::<Vec<_>>().join(", ")
}

fn panels(place: &str, seeds: &[&Trained]) -> Vec<Option<Panel>> {
    let panel = |picture: Option<Picture>| {
        let picture = picture?;
        Some(Panel { title: format!("{place}: {}", lower_first(&picture.title)), picture })
    };
    vec![panel(losses(seeds)), panel(scores(seeds))]
}

/// As it is written within a sentence.
fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// A row per epoch and number: the training loss, and each validation score. `kept` is 1 at the epoch that is kept.
fn tidy(shown: &Shown<'_>, all: &[&Trained]) -> String {
    let axes: Vec<&String> = shown.axes.iter().collect();
    let mut rows = Vec::new();
    for one in all {
        let place = [vec![one.stage.clone()], values(&axes, &one.at)].concat();
        let kept = one.kept().map(|epoch| epoch.epoch);
        for epoch in &one.epochs {
            let loss = std::iter::once(("train_loss", epoch.train_loss));
            for (what, value) in loss.chain(epoch.val.iter().map(|(name, value)| (name.as_str(), *value))) {
                let is_kept = usize::from(kept == Some(epoch.epoch));
                let row = [(epoch.epoch + 1).to_string(), what.to_owned(), number_text(Some(value))];
                rows.push([place.clone(), row.to_vec(), vec![is_kept.to_string()]].concat());
            }
        }
    }
    csv(&["stage"], &axes, &["epoch", "what", "value", "kept"], rows)
}
