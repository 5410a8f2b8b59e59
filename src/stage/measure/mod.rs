//! What merge methods measure on a data set before they merge.
//!
//! | file | what |
//! |---|---|
//! | `soup` | validation scores of soups |
//! | `fisher` | Fisher information of each source |
//! | `regmean` | Gram matrices of what goes into each source's layers |

mod fisher;
mod regmean;
mod soup;

use rand::seq::SliceRandom;

pub(super) use fisher::information;
pub(super) use regmean::solved_weights;
pub(super) use soup::chosen;

use super::work::Networks;
use super::*;
use merge_method::MergeMethodSpec;
use nn::cost::{product, sum};
use rng::{Purpose, rng};

/// What a method reads of the merge's data set; nothing if it measures nothing.
pub(super) fn splits(method: &MergeMethodSpec) -> &'static [SplitName] {
    match method {
        MergeMethodSpec::GreedySoup(_) => &[SplitName::Val],
        MergeMethodSpec::Fisher(_) | MergeMethodSpec::Regmean(_) => &[SplitName::Train],
        _ => &[],
    }
}

/// Why a method cannot measure these sources, of these names, on the data set of the merge.
pub(super) fn problems(
    method: &MergeMethodSpec,
    sources: &[&ModelInfo],
    names: &[String],
    dataset: Option<&KnownDataset<'_>>,
) -> Vec<String> {
    if splits(method).is_empty() {
        return Vec::new();
    }
    let Some(dataset) = dataset else {
        return vec!["`method` measures the sources, and needs a `dataset` to do so".into()];
    };
    let mut problems = dataset.suits(&sources[0].backbone).err().unwrap_or_default();
    match method {
        MergeMethodSpec::GreedySoup(_) => problems.extend(soup::problem(sources, dataset)),
        MergeMethodSpec::Fisher(_) => {
            let headless = names.iter().zip(sources).filter(|(_, source)| source.head.is_none());
            problems.extend(headless.map(|(name, _)| {
                format!(
                    "the source `{name}` has no head, and Fisher information is of what its predictions hang on; \
                     fine-tune or probe it first"
                )
            }));
        }
        _ => {}
    }
    problems
}

/// What measuring adds to a merge's work, given the work of re-estimating batch norm's statistics once.
pub(super) fn work(
    method: &MergeMethodSpec,
    sources: &[&ModelInfo],
    dataset: &KnownDataset<'_>,
    reestimate: u64,
    networks: &mut Networks,
) -> Work {
    match method {
        MergeMethodSpec::GreedySoup(_) => soup::work(sources, dataset, reestimate, networks),
        MergeMethodSpec::Fisher(spec) => fisher::work(spec, sources, dataset, networks),
        MergeMethodSpec::Regmean(spec) => regmean::work(spec, sources, dataset, networks),
        _ => Work::default(),
    }
}

/// The images that a method measures on, up to so many of `n`: drawn once, the same for all sources and merges.
fn drawn(n: usize, images: usize) -> Vec<usize> {
    let mut positions: Vec<usize> = (0..n).collect();
    positions.shuffle(&mut rng(0, Purpose::Measure, 0, 0));
    positions.truncate(images);
    positions
}

/// Classes of a model's head; 0 if it has none.
fn classes(info: &ModelInfo) -> usize {
    info.head.as_ref().map_or(0, |head| head.classes.len())
}

#[cfg(test)]
mod tests;
