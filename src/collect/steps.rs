//! How long the models behind scores were trained.

use std::collections::{BTreeSet, HashMap};

use crate::dataset::{LabelBudget, SplitName};
use crate::identity::Fingerprint;
use crate::plan::{Plan, PlannedDataset, PlannedStage, dataset_fingerprint};
use crate::stage::finetune::Trainable;
use crate::stage::{StageSpec, ensemble};
use crate::store::{Store, StoreError};
use crate::table::Steps;

/// The training behind each row of an `evaluate` stage on each of its data sets.
pub(super) struct Trained<'a> {
    plan: &'a Plan,
    store: &'a Store,
    /// One of the stages that make it.
    stages: HashMap<Fingerprint, &'a PlannedStage>,
}

impl<'a> Trained<'a> {
    pub(super) fn new(plan: &'a Plan, store: &'a Store) -> Self {
        let stages = plan.stages().map(|stage| (stage.fingerprint, stage)).collect();
        Self { plan, store, stages }
    }

    /// The steps on a data set of a row's model or ensemble, and of all that it was made from, each stage once. `None` if
    /// no table shows them.
    ///
    /// # Errors
    /// An entry of the store is damaged.
    pub(super) fn on(
        &self,
        dataset: &PlannedDataset,
        evaluate: &PlannedStage,
        row: Fingerprint,
    ) -> Result<Option<Steps>, StoreError> {
        let mut tables = self.plan.experiment.tables.values();
        if !tables.any(|table| table.steps && table.from.contains(&evaluate.name)) {
            return Ok(None);
        }
        let mut steps = Steps::default();
        for stage in self.behind(evaluate, row) {
            steps += self.of(self.stages[&stage], dataset)?;
        }
        Ok(Some(steps))
    }

    /// The stages that a row was made by.
    fn behind(&self, evaluate: &PlannedStage, row: Fingerprint) -> BTreeSet<Fingerprint> {
        let inputs =
            evaluate.inputs.iter().map(|(input, node)| (&input.role, self.plan.stage(*node).fingerprint));
        let ensembles = ensemble::among(inputs);
        let members = ensembles.into_iter().find(|ensemble| ensemble.fingerprint == row);
        let mut open = members.map_or_else(|| vec![row], |ensemble| ensemble.members);
        let mut behind = BTreeSet::new();
        while let Some(fingerprint) = open.pop() {
            if behind.insert(fingerprint) {
                let inputs = &self.stages[&fingerprint].inputs;
                open.extend(inputs.iter().map(|(_, node)| self.plan.stage(*node).fingerprint));
            }
        }
        behind
    }

    /// Of one stage: of the epochs that it has trained, or would train if the store does not have it.
    fn of(&self, stage: &PlannedStage, dataset: &PlannedDataset) -> Result<Steps, StoreError> {
        let here = stage.datasets.iter().map(|(_, here)| here).find(|here| is_same(here, dataset));
        let train = stage.spec.train().filter(|_| !trains_head_only(&stage.spec));
        let (Some(train), Some(here)) = (train, here) else { return Ok(Steps::default()) };
        let epochs = match self.store.manifest(&stage.fingerprint)? {
            Some(manifest) => self.store.history(&manifest)?.len(),
            None => train.epochs,
        };
        let (steps, images) = train.steps_per_epoch(here.summary.images(SplitName::Train));
        Ok(Steps { steps: epochs * steps, images: epochs * images })
    }
}

/// Whether two data sets have the same images, whatever their label budgets.
fn is_same(a: &PlannedDataset, b: &PlannedDataset) -> bool {
    let whole = |of: &PlannedDataset| dataset_fingerprint(&of.spec, LabelBudget::default(), &of.summary);
    a.fingerprint == b.fingerprint || (a.summary.digest == b.summary.digest && whole(a) == whole(b))
}

fn trains_head_only(spec: &StageSpec) -> bool {
    matches!(spec, StageSpec::Finetune(spec) if spec.trainable == Trainable::Head)
}
