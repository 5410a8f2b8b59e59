//! From the store to the figures of an experiment. What no figure shows is not read.

use std::path::{Path, PathBuf};

use super::evaluated::{evaluated, trained};
use super::weights::CollectedWeights;
use super::{CollectError, Collected};
use crate::chart::{Evaluated, Trained};
use crate::experiment::figure_spec::Shows;
use crate::figure::{FigureError, Shown, write_figure};
use crate::plan::{Plan, PlannedStage};
use crate::store::Store;
use crate::table::{Pivot, Rendered};

/// What the figures of an experiment show.
pub struct Figures<'p> {
    plan: &'p Plan,
    axes: Vec<String>,
    evaluated: Vec<Evaluated>,
    trained: Vec<Trained>,
}

impl<'p> Figures<'p> {
    /// Reads predictions and trainings.
    ///
    /// # Errors
    /// An entry of the store is damaged.
    pub fn collect(plan: &'p Plan, store: &Store) -> Result<Self, CollectError> {
        let predicted = plan.experiment.shown_in_figures(Shows::Predictions);
        let trainings = plan.experiment.shown_in_figures(Shows::Epochs);
        let is_predicted = |stage: &PlannedStage| predicted.contains(&stage.name);
        let found = evaluated(plan, store, is_predicted, |_, _, _| ())?;
        Ok(Self {
            plan,
            axes: plan.experiment.axes.keys().cloned().collect(),
            evaluated: found.into_iter().map(|(evaluated, ())| evaluated).collect(),
            trained: trained(plan, store, |stage| trainings.contains(&stage.name))?,
        })
    }

    /// Writes all figures, from scores, merge weights and tables, too. Returns their names with their files, of those
    /// that have something to show.
    ///
    /// # Errors
    /// A file cannot be written, or stages whose merge weights are pooled have different sources or layers.
    pub fn write(
        &self,
        results: &Path,
        collected: &Collected,
        weights: &CollectedWeights,
        tables: &[Rendered],
    ) -> Result<Vec<(&'p str, Vec<PathBuf>)>, FigureError> {
        let tables: Vec<(&str, &Pivot)> =
            tables.iter().map(|table| (table.name.as_str(), &table.pivot)).collect();
        let shown = Shown {
            experiment: &self.plan.experiment.name,
            axes: &self.axes,
            learned: &weights.learned,
            evaluated: &self.evaluated,
            trained: &self.trained,
            scores: &collected.scores,
            tables: &tables,
        };
        let mut written = Vec::new();
        for (name, spec) in &self.plan.experiment.figures {
            let files = write_figure(results, name, spec, &shown)?;
            if !files.is_empty() {
                written.push((name.as_str(), files));
            }
        }
        Ok(written)
    }
}
