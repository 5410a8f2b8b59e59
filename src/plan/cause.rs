//! The root causes of a stage's changed inputs.

use std::collections::{HashSet, VecDeque};

use super::freshness::changes;
use super::{Plan, PlannedStage, Status, Why};
use store::{Store, StoreError};

/// A change that is not itself the result of a changed input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Id of the stage that changed.
    pub stage: String,
    /// What changed.
    pub why: Why,
}

impl Plan {
    /// The root causes of a stage's changed inputs, nearest first; empty if no input changed.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn root_causes(&self, stage: &PlannedStage, store: &Store) -> Result<Vec<Cause>, StoreError> {
        let mut causes = Vec::new();
        let mut visited = HashSet::new();
        let mut inputs: VecDeque<_> = reasons(stage).iter().filter_map(changed_input).collect();
        while let Some((id, old)) = inputs.pop_front() {
            let Some(stage) = self.graph.stages().find(|stage| stage.id == id) else { continue };
            if !visited.insert(id) {
                continue;
            }
            for why in self.changes_since(stage, &old, store)? {
                match changed_input(&why) {
                    Some(input) => inputs.push_back(input),
                    None => causes.push(Cause { stage: stage.id.clone(), why }),
                }
            }
        }
        Ok(causes)
    }

    /// What changed in a stage since it had this fingerprint. If that entry is no longer in the store, the reasons for the
    /// stage to run.
    fn changes_since(&self, stage: &PlannedStage, old: &str, store: &Store) -> Result<Vec<Why>, StoreError> {
        let manifest = match old.parse() {
            Ok(old) => store.manifest(&old)?,
            Err(_) => None,
        };
        Ok(match manifest {
            Some(manifest) => changes(&manifest.header.fields, stage, &self.graph),
            None => reasons(stage).to_vec(),
        })
    }
}

fn reasons(stage: &PlannedStage) -> &[Why] {
    match &stage.status {
        Status::Fresh => &[],
        Status::Stale(reasons) => reasons,
    }
}

/// Id and old fingerprint of a changed input.
fn changed_input(why: &Why) -> Option<(String, String)> {
    match why {
        Why::Input { stage, old: Some(old), .. } => Some((stage.clone(), old.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Lab;
    use stage::StageSpec;

    fn causes(lab: &Lab, id: &str) -> Vec<String> {
        let plan = lab.plan();
        let stage = plan.graph.stages().find(|stage| stage.id == id).unwrap();
        let causes = plan.root_causes(stage, &lab.store).unwrap();
        causes.iter().map(|cause| format!("{}: {}", cause.stage, cause.why)).collect()
    }

    #[test]
    fn f05_the_root_of_a_change_is_found_through_a_chain_of_inputs() {
        let mut lab = Lab::new();
        lab.make(&["source", "tuned", "scores"]);
        assert!(causes(&lab, "scores").is_empty());
        let StageSpec::Pretrain(source) = &mut lab.experiment.stages[0].spec else {
            panic!("a pretrain stage")
        };
        source.train.epochs = 3;
        assert_eq!(causes(&lab, "scores"), ["source: train.epochs: 10 -> 3"]);
        assert!(causes(&lab, "source").is_empty(), "its reasons name the change");
        lab.make(&["source"]);
        assert_eq!(causes(&lab, "scores"), ["source: train.epochs: 10 -> 3"], "also if it was made again");
    }
}
