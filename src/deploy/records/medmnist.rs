//! Predictions as the evaluation files of MedMNIST: `retinamnist_test_[AUC]0.713_[ACC]0.520@3.csv`, a row per image with
//! its index and a score per class, without a header (`medmnist.Evaluator` 3.0.2).

use std::path::Path;

use super::{nothing, write_file};
use crate::collect::named::Names;
use crate::collect::{Cell, each_cell, evaluations};
use crate::dataset::DatasetSpec;
use crate::error::Error;
use crate::metric::predictions::{MultiLabelImage, is_predicted};
use crate::metric::{Predictions, State, by_name};
use crate::plan::{Plan, PlannedDataset};
use crate::stage::Prediction;
use crate::store::Store;

/// Sides in pixels of published files; that of the smallest is not in the name.
const SIDES: [&str; 3] = ["64", "128", "224"];

/// Write a file per model, data set and seed; returns their number.
///
/// # Errors
/// The experiment evaluates nothing on a MedMNIST file, the store lacks it, or a file cannot be written.
pub(super) fn write(plan: &Plan, store: &Store, folder: &Path) -> Result<usize, Error> {
    let mut runs = Names::default();
    let mut written = 0;
    for (stage, spec) in evaluations(plan) {
        each_cell(plan, store, stage, spec, |cell, prediction| {
            let Some(set) = set_of(cell.dataset) else { return Ok(()) };
            // Without a score, tables have warned about them.
            let Ok(predictions) = cell.predictions(prediction) else { return Ok(()) };
            let run = runs.unique(&run(cell));
            let name = format!("{set}_{}_{}@{run}.csv", cell.spec.split.as_str(), scores(&predictions));
            write_file(&folder.join(name), csv(prediction)?.as_bytes())?;
            written += 1;
            Ok::<_, Error>(())
        })?;
    }
    if written == 0 { Err(nothing(plan, "predictions for a MedMNIST file")) } else { Ok(written) }
}

/// The published set of a data set and the side of its images, as in the name of its file: `retinamnist_64`.
fn set_of(dataset: &PlannedDataset) -> Option<String> {
    let DatasetSpec::Medmnist(spec) = &dataset.spec else { return None };
    let stem = spec.path.file_stem()?.to_str()?;
    let (flag, side) = match stem.rsplit_once('_').filter(|(_, side)| SIDES.contains(side)) {
        Some((flag, side)) => (flag, format!("_{side}")),
        None => (stem, String::new()),
    };
    let set = spec.set.or_else(|| serde_json::from_value(flag.into()).ok())?;
    Some(format!("{}{side}", serde_json::to_value(set).ok()?.as_str()?))
}

/// The model, data set and axes. What follows the first dot is ignored by readers, and `@` precedes a run.
fn run(cell: &Cell<'_>) -> String {
    let axes = cell.stage.at.iter().map(|(axis, value)| format!("{axis}={value}"));
    let parts = [cell.model.to_owned(), cell.dataset.name.clone()].into_iter().chain(axes);
    parts.collect::<Vec<_>>().join("-").replace(['.', '@'], "-")
}

/// Both scores as MedMNIST defines them; readers compute them again.
fn scores(predictions: &Predictions) -> String {
    let score = |name| by_name(name).and_then(|metric| metric.score(predictions)).unwrap_or(f64::NAN);
    let accuracy = match predictions.multi_label_images() {
        Some(images) => mean_accuracy(images),
        None => score("accuracy"),
    };
    format!("[AUC]{:.3}_[ACC]{accuracy:.3}", score("auroc"))
}

/// The share of right decisions about a class, as a mean over classes; a class that is unknown counts as absent.
fn mean_accuracy<'a>(images: impl Iterator<Item = MultiLabelImage<'a>>) -> f64 {
    let (mut right, mut all) = (0, 0);
    for (state, p) in images.flat_map(|image| image.states.iter().zip(image.probabilities)) {
        right += usize::from(is_predicted(*p) == (*state == State::Present));
        all += 1;
    }
    right as f64 / all as f64
}

/// A row per image with its index in the file.
fn csv(prediction: &Prediction) -> Result<String, Error> {
    let mut text = String::new();
    for (image, row) in prediction.images.iter().zip(&prediction.probabilities) {
        let index = image.rsplit('/').next().filter(|index| index.parse::<usize>().is_ok());
        let index =
            index.ok_or_else(|| Error::Usage(format!("failed to find the index of image {image:?}")))?;
        let scores: String = row.iter().map(|p| format!(",{p:?}")).collect();
        text += &format!("{index}{scores}\n");
    }
    Ok(text)
}
