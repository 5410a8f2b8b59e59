//! Figures: `[figure.<name>.<kind>]`, one file per set of keys.
//!
//! To add a kind: a line in [`FigureSpec`], a file here unless its keys are those of [`predictions`], and a file in
//! `figure/` that draws it.

pub mod barrier;
pub mod budget;
pub mod curves;
pub mod forest;
pub mod layers;
pub mod predictions;

use kind::{Kind, kinds};

pub use layers::COLUMNS;

/// The value of `columns` that is not a sweep axis.
pub const STAGE: &str = "stage";

kinds! {
    /// The section of a figure in the experiment file. The kind is the key.
    pub enum FigureSpec: FigureKind {
        Layers(layers::LayersSpec),
        /// Confusion matrices: counts, summed over seeds, and shares of each true class.
        Confusion(predictions::PredictionsSpec),
        /// ROC curves of each class against the rest, one line per seed.
        Roc(predictions::PredictionsSpec),
        /// Precision-recall curves of each class against the rest, one line per seed.
        PrecisionRecall(predictions::PredictionsSpec),
        /// Accuracy in 15 bins of confidence, the images of all seeds together.
        Reliability(predictions::PredictionsSpec),
        Curves(curves::CurvesSpec),
        Forest(forest::ForestSpec),
        Budget(budget::BudgetSpec),
        Barrier(barrier::BarrierSpec),
    }
}

/// What every kind of figure implements.
pub trait FigureKind: Kind {
    /// The stages that it shows; empty if it shows a table.
    fn from(&self) -> &[String];

    /// Whether it is written as PDF, too.
    fn pdf(&self) -> bool;

    /// What it shows of them.
    fn shows(&self) -> Shows;

    /// The keys that name something, as paths, with what they name.
    fn names(&self) -> Vec<(String, Named, &str)>;

    /// The table that it shows.
    fn table(&self) -> Option<&str> {
        None
    }

    /// A key whose value excludes another's: the key, what is wrong, and what to do.
    fn conflict(&self) -> Option<(&'static str, String, String)> {
        None
    }
}

/// What a figure shows of its stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Learned merge weights.
    MergeWeights,
    /// Predictions of images.
    Predictions,
    /// Scores.
    Scores,
    /// The epochs of a training.
    Epochs,
    /// What a table shows.
    Table,
}

impl Shows {
    /// The kinds of stages that have it, and its name.
    pub(super) fn of_stages(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::MergeWeights => (&["learn_merge_weights"], "merge weights"),
            Self::Predictions => (&["evaluate"], "predictions"),
            Self::Scores | Self::Table => (&["evaluate"], "scores"),
            Self::Epochs => (&["pretrain", "finetune", "learn_merge_weights", "distill"], "epochs"),
        }
    }
}

/// What a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A sweep axis.
    Axis,
    /// A sweep axis whose values are numbers.
    NumberAxis,
    /// A sweep axis whose values are positive numbers.
    PositiveAxis,
    /// `stage`, or a sweep axis.
    Field,
    /// A model or ensemble of the figure's stages.
    Model,
    /// A data set of the figure's stages.
    Dataset,
    /// A metric.
    Metric,
    /// A table with differences and intervals.
    Table,
}

impl Named {
    /// Whether it may be a sweep axis.
    pub(super) fn is_axis(self) -> bool {
        matches!(self, Self::Axis | Self::NumberAxis | Self::PositiveAxis | Self::Field)
    }
}

/// The keys `models` and `datasets`.
fn rows<'a>(models: &'a [String], datasets: &'a [String]) -> Vec<(String, Named, &'a str)> {
    let named = |key: &'static str, named, names: &'a [String]| {
        names.iter().enumerate().map(move |(i, name)| (format!("{key}.{i}"), named, name.as_str()))
    };
    named("models", Named::Model, models).chain(named("datasets", Named::Dataset, datasets)).collect()
}

fn seed() -> String {
    "seed".into()
}
