//! ROC curves of each class against the rest.

use experiment::figure_spec::predictions::PredictionsSpec;
use metric::curves;

use super::class_curves::ClassCurves;
use super::grid::selected;
use super::{Files, Shown};

const CURVES: ClassCurves = ClassCurves {
    picture: |one| chart::roc(one.seeds.iter().map(|(_, predictions)| predictions)),
    curve: curves::roc,
    columns: ["false_positive_rate", "true_positive_rate"],
};

pub(super) fn files(name: &str, spec: &PredictionsSpec, shown: &Shown<'_>) -> Files {
    CURVES.files(name, shown, &selected(shown, spec))
}
