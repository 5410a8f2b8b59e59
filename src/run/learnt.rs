//! The merge weights that figures show, from the store.

use std::collections::HashSet;

use rayon::prelude::*;

use super::collect::CollectError;
use figure::{Learnt, learnt};
use plan::{Plan, StageId};
use stage::{Artifact, Description};
use store::Store;

/// What the stages of an experiment's figures learnt.
#[derive(Clone, Debug, Default)]
pub struct CollectedWeights {
    /// In the order of the plan.
    pub learnt: Vec<Learnt>,
    /// Ids of stages that the store lacks.
    pub missing: Vec<String>,
}

/// The merge weights of every stage that a figure shows and that the store has.
///
/// # Errors
/// An entry of the store is damaged.
pub fn collect_weights(plan: &Plan, store: &Store) -> Result<CollectedWeights, CollectError> {
    let shown: HashSet<&String> = plan.experiment.figures.values().flat_map(|figure| &figure.from).collect();
    let nodes = plan.stage_ids().filter(|&node| shown.contains(&plan.stage(node).name));
    let nodes: Vec<StageId> = nodes.collect();
    let found = nodes.par_iter().map(|&node| Ok((node, learnt_by(plan, store, node)?)));
    let mut collected = CollectedWeights::default();
    for (node, learnt) in found.collect::<Result<Vec<_>, CollectError>>()? {
        match learnt {
            Some(learnt) => collected.learnt.push(learnt),
            None => collected.missing.push(plan.stage(node).id.clone()),
        }
    }
    Ok(collected)
}

/// `None` if the store lacks the entry.
fn learnt_by(plan: &Plan, store: &Store, node: StageId) -> Result<Option<Learnt>, CollectError> {
    let stage = plan.stage(node);
    if store.manifest(&stage.fingerprint)?.is_none() {
        return Ok(None);
    }
    let Artifact::MergeWeights(weights) = store.get(&stage.fingerprint)? else { return Ok(None) };
    let unusable = |source| CollectError::Weights { stage: stage.id.clone(), source };
    let sources = match &stage.description {
        Description::MergeWeights { sources, .. } => sources.len(),
        _ => 0,
    };
    Ok(Some(Learnt {
        stage: stage.name.clone(),
        id: stage.id.clone(),
        at: stage.at.iter().map(|(axis, value)| (axis.clone(), value.to_string())).collect(),
        sources: stage.inputs[..sources].iter().map(|(input, _)| input.stage.clone()).collect(),
        layers: learnt::layers(&weights).map_err(unusable)?,
    }))
}
