//! Learned merge weights, for figures.

use std::collections::HashSet;

use rayon::prelude::*;

use super::CollectError;
use crate::experiment::figure_spec::Shows;
use crate::figure::{LearnedWeights, learned};
use crate::plan::{Plan, StageId};
use crate::stage::{Artifact, Description};
use crate::store::Store;

/// What the stages in an experiment's figures learned.
#[derive(Clone, Debug, Default)]
pub struct CollectedWeights {
    /// In the order of the plan.
    pub learned: Vec<LearnedWeights>,
    /// Ids of stages missing from the store.
    pub missing: Vec<String>,
}

/// The merge weights of every stage that is shown in a figure and present in the store.
///
/// # Errors
/// An entry of the store is damaged.
pub fn collect_weights(plan: &Plan, store: &Store) -> Result<CollectedWeights, CollectError> {
    let shown: HashSet<&String> = plan.experiment.shown_in_figures(Shows::MergeWeights);
    let nodes = plan.stage_ids().filter(|&node| shown.contains(&plan.stage(node).name));
    let nodes: Vec<StageId> = nodes.collect();
    let found = nodes.par_iter().map(|&node| Ok((node, weights_of(plan, store, node)?)));
    let mut collected = CollectedWeights::default();
    for (node, learned) in found.collect::<Result<Vec<_>, CollectError>>()? {
        match learned {
            Some(learned) => collected.learned.push(learned),
            None => collected.missing.push(plan.stage(node).id.clone()),
        }
    }
    Ok(collected)
}

/// `None` if the store lacks the entry.
fn weights_of(plan: &Plan, store: &Store, node: StageId) -> Result<Option<LearnedWeights>, CollectError> {
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
    Ok(Some(LearnedWeights {
        stage: stage.name.clone(),
        id: stage.id.clone(),
        at: stage.at.iter().map(|(axis, value)| (axis.clone(), value.to_string())).collect(),
        sources: stage.inputs[..sources].iter().map(|(input, _)| input.stage.clone()).collect(),
        layers: learned::layers(&weights).map_err(unusable)?,
    }))
}
