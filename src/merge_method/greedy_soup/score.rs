//! Validation scores of soups.

use dataset::SplitName;
use metric::by_name;
use model::batch_norm::reestimate_statistics;
use model::inference::validation_score;
use model::{Checkpoint, KnownDataset, ModelInfo, Networks, StageError, Work};
use nn::cost::{product, sum};

use super::{GreedySoup, GreedySoupSpec, choose};
use crate::{Merging, merge_in_memory};

/// The sources of the soup. Each candidate, of one source or several, is scored as the final model would be, with batch
/// norm's statistics re-estimated if the merge re-estimates them.
///
/// # Errors
/// The score is undefined on the validation images, a tensor operation failed, or the user interrupted.
pub(crate) fn chosen(spec: &GreedySoupSpec, merging: &Merging<'_>) -> Result<GreedySoup, StageError> {
    let &Merging { context, ref sources, names, reestimates } = merging;
    let state_dicts = merging.state_dicts();
    let metric =
        by_name(&spec.metric).ok_or_else(|| failed(format!("there is no metric `{}`", spec.metric)))?;
    let choice = choose(sources.len(), |members| {
        let tensors = merge_in_memory(&GreedySoup::new(members), &state_dicts, None)?;
        let mut soup = Checkpoint { info: sources[0].info.clone(), tensors, history: Vec::new() };
        if reestimates {
            reestimate_statistics(&mut soup, &context.datasets[0], context)?;
        }
        let score = validation_score(metric, &soup, context)?;
        let names: Vec<&str> = members.iter().map(|&member| names[member].as_str()).collect();
        tracing::info!("soup of {}: {} {score:.6}", names.join(", "), metric.name);
        Ok::<_, StageError>(if metric.higher_is_better { score } else { -score })
    })?;
    Ok(GreedySoup::new(&choice.members))
}

fn failed(problem: String) -> StageError {
    StageError::Failed(format!("failed to score a soup: {problem}"))
}

/// Why these models cannot be combined into a soup.
pub(super) fn problem(
    spec: &GreedySoupSpec,
    sources: &[&ModelInfo],
    dataset: &KnownDataset<'_>,
) -> Option<String> {
    let head = sources[0].head.as_ref();
    if head.is_none() || sources.iter().any(|source| source.head.as_ref() != head) {
        return Some(
            "the sources of a greedy soup must have heads for the same data set; fine-tune all of them on it"
                .into(),
        );
    }
    if let Some(misfit) = head?.misfit(dataset) {
        return Some(format!("each source has {misfit}"));
    }
    dataset.unselectable("metric", by_name(&spec.metric)?)
}

/// Each source is scored alone, and each but the first once more in a soup.
pub(super) fn work(
    sources: &[&ModelInfo],
    dataset: &KnownDataset<'_>,
    reestimate: u64,
    networks: &mut Networks,
) -> Work {
    let network = networks.for_dataset(&sources[0].backbone, dataset);
    let soups = (2 * sources.len()).saturating_sub(1) as u64;
    let images = dataset.images(SplitName::Val);
    let soup = sum([product([network.forward(), images]), reestimate]);
    Work {
        operations: product([soups, soup]),
        memory_bytes: sum([network.bytes(), network.evaluation(images)]),
        ..Work::default()
    }
}
