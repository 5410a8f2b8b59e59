//! `results/<experiment>/predictions/<row>.<data set>[.<axis>=<value>…].csv`: predictions with readable names of files and
//! classes.

use std::collections::HashSet;
use std::path::Path;

use super::{Cell, each_cell, evaluations};
use crate::error::Error;
use crate::metric::predictions::{Image, MultiLabelImage, is_predicted};
use crate::metric::{Predictions, State};
use crate::plan::Plan;
use crate::stage::Prediction;
use crate::store::Store;
use crate::table::write_file;

/// The folder of predictions within an experiment's results.
pub const PREDICTIONS: &str = "predictions";

/// The maximum number of characters in a file name, without its extension.
const LONGEST: usize = 120;

/// Write the predictions of every `evaluate` stage in the store: a row per image with its name, true class, predicted class,
/// and a column of probabilities per class. Returns the number of files.
///
/// # Errors
/// An entry of the store is damaged, or a file cannot be written.
pub fn write_predictions(plan: &Plan, store: &Store, results: &Path) -> Result<usize, Error> {
    let experiment = format!("{}/{PREDICTIONS}", plan.experiment.name);
    let evaluations = evaluations(plan);
    let several = evaluations.iter().any(|(stage, _)| stage.name != evaluations[0].0.name);
    let mut names = Names::default();
    for (stage, spec) in evaluations {
        each_cell(plan, store, stage, spec, |cell, prediction| {
            // Without a score, tables have warned about them.
            let Ok(predictions) = cell.predictions(prediction) else { return Ok(()) };
            let name = names.unique(&cell.file_name(several));
            let csv = csv(prediction, &predictions, &cell.dataset.summary.classes);
            write_file(results, &experiment, ("prediction", &name), "csv", &csv)?;
            Ok::<_, Error>(())
        })?;
    }
    Ok(names.taken.len())
}

impl Cell<'_> {
    /// `<row>.<data set>[.<axis>=<value>…]`; the name of the stage comes first if there are several.
    fn file_name(&self, with_stage: bool) -> String {
        let stage = with_stage.then(|| self.stage.name.clone());
        let axes = self.stage.at.iter().map(|(axis, value)| format!("{axis}={value}"));
        let parts = [self.model.to_owned(), self.dataset.name.clone()].into_iter().chain(axes);
        stage.into_iter().chain(parts).collect::<Vec<_>>().join(".")
    }
}

/// Names of files that work on every file system, each used once.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// In lower case: some file systems ignore case.
    taken: HashSet<String>,
}

impl Names {
    /// A safe name for this text; a number is appended if it is taken.
    pub(crate) fn unique(&mut self, text: &str) -> String {
        let safe = safe(text);
        let numbered = (2..).map(|number| format!("{safe}-{number}"));
        let mut names = std::iter::once(safe.clone()).chain(numbered);
        names.find(|name| self.taken.insert(name.to_lowercase())).unwrap_or(safe)
    }
}

/// Replaces everything but letters, digits and a few signs by `_`.
fn safe(text: &str) -> String {
    let keeps = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '+' | '-' | '=' | '.' | '_');
    let safe: String = text.chars().map(|c| if keeps(c) { c } else { '_' }).take(LONGEST).collect();
    // Some file systems do not allow blanks or dots at the ends; a leading dot hides a file.
    let safe = safe.trim().trim_matches('.');
    if safe.is_empty() { "_".to_owned() } else { safe.to_owned() }
}

/// `image,label,predicted,<class>,…`, with the names of classes; of a multi-label data set
/// `image,label,unknown,predicted,<class>,…`, with lists of names, `a|b`, before the probabilities.
fn csv(prediction: &Prediction, valid: &Predictions, classes: &[String]) -> String {
    let Prediction { images, probabilities, .. } = prediction;
    let unknown = valid.multi_label_images().map(|_| "unknown");
    let header = ["image", "label"].into_iter().chain(unknown).chain(["predicted"]);
    let mut text = line(header.chain(classes.iter().map(String::as_str)));
    for ((name, labels), row) in images.iter().zip(labels(valid, classes)).zip(probabilities) {
        let first = std::iter::once(name.clone()).chain(labels);
        text += &line(first.chain(row.iter().map(|p| format!("{p:?}"))));
    }
    text
}

/// The cells between the name and the probabilities of each image.
fn labels(valid: &Predictions, classes: &[String]) -> Vec<Vec<String>> {
    let single = |image: Image<'_>| vec![classes[image.label].clone(), classes[image.predicted].clone()];
    let several = |image: MultiLabelImage<'_>| {
        let with = |state| listed(classes, image.states.iter().map(|other| *other == state));
        let predicted = listed(classes, image.probabilities.iter().map(|p| is_predicted(*p)));
        vec![with(State::Present), with(State::Unknown), predicted]
    };
    let single = valid.images().into_iter().flatten().map(single);
    single.chain(valid.multi_label_images().into_iter().flatten().map(several)).collect()
}

/// The names of the chosen classes: `a|b`.
fn listed(classes: &[String], chosen: impl Iterator<Item = bool>) -> String {
    let chosen = classes.iter().zip(chosen).filter(|(_, is_chosen)| *is_chosen);
    chosen.map(|(class, _)| class.as_str()).collect::<Vec<_>>().join("|")
}

/// A line of CSV.
fn line(cells: impl Iterator<Item = impl AsRef<str>>) -> String {
    let quoted = |cell: &str| match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    };
    cells.map(|cell| quoted(cell.as_ref())).collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Fingerprint;
    use crate::metric::{Labels, MultiLabels};

    #[test]
    fn f08_names_of_files_are_safe_and_unique() {
        assert_eq!(safe("LP-FT A + B.fundus.seed=0"), "LP-FT A + B.fundus.seed=0");
        assert_eq!(safe("../a/b\\c:\n*"), "_a_b_c___");
        assert_eq!((safe(""), safe(" . ")), ("_".into(), "_".into()));
        assert_eq!(safe("模型"), "模型");
        assert_eq!(safe(&"x".repeat(500)).len(), LONGEST);
        let mut names = Names::default();
        let unique = ["a/b", "a:b", "A_B", "a_b-2"].map(|text| names.unique(text));
        assert_eq!(unique, ["a_b", "a_b-2", "A_B-3", "a_b-2-2"]);
    }

    #[test]
    fn f08_classes_have_their_names() {
        let named = |name: &str| Fingerprint::of_parts([name]);
        let prediction = Prediction {
            model: named("m"),
            dataset: named("d"),
            images: vec!["test/0".into(), "test/1".into()],
            labels: vec![1, 0].into(),
            probabilities: vec![vec![0.25, 0.75], vec![0.5, 0.5]],
        };
        let classes = ["healthy".to_owned(), "sick, old".to_owned()];
        let valid = Predictions::of(&prediction.labels, &prediction.probabilities, 2).unwrap();
        assert_eq!(
            csv(&prediction, &valid, &classes),
            "image,label,predicted,healthy,\"sick, old\"\ntest/0,\"sick, old\",\"sick, old\",0.25,0.75\n\
             test/1,healthy,healthy,0.5,0.5\n"
        );
        let mut labels = MultiLabels::new(2);
        labels.push(&[State::Present, State::Present]);
        labels.push(&[State::Unknown, State::Absent]);
        let prediction = Prediction { labels: Labels::Multi(labels), ..prediction };
        let valid = Predictions::of(&prediction.labels, &prediction.probabilities, 2).unwrap();
        assert_eq!(
            csv(&prediction, &valid, &classes),
            "image,label,unknown,predicted,healthy,\"sick, old\"\n\
             test/0,\"healthy|sick, old\",,\"sick, old\",0.25,0.75\n\
             test/1,,healthy,\"healthy|sick, old\",0.5,0.5\n"
        );
    }
}
