//! The greedy soup (Wortsman et al. 2022, "Model soups", arXiv 2203.05482, recipe 1): the mean of those models that,
//! added one by one, do not make it worse on validation images.

pub(crate) mod score;

use candle_core::{Result, Tensor};
use dataset::SplitName;
use identity::Identity;
use kind::{Kind, Problems, suggest};
use model::{KnownDataset, Networks, StageError, Work};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::average::{Average, AverageSpec};
use super::{KnownMerge, MergeMethod, MergeTensors, Merged, Merging};

/// The mean of those models that, added one by one, do not make it worse on validation images (arXiv 2203.05482).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GreedySoupSpec {
    /// The score on validation images: any metric.
    pub metric: String,
}

impl Default for GreedySoupSpec {
    fn default() -> Self {
        Self { metric: "accuracy".into() }
    }
}

impl Identity for GreedySoupSpec {}

impl Kind for GreedySoupSpec {
    fn validate(&self, problems: &mut Problems) {
        if metric::by_name(&self.metric).is_none() {
            let help = suggest::help(&self.metric, metric::NAMES);
            problems.add("metric", format!("unknown metric `{}`", self.metric), help);
        }
    }
}

impl MergeMethod for GreedySoupSpec {
    fn splits(&self) -> &'static [SplitName] {
        &[SplitName::Val]
    }

    fn unmeasurable(&self, merge: &KnownMerge<'_>, dataset: &KnownDataset<'_>) -> Vec<String> {
        score::problem(&merge.sources, dataset).into_iter().collect()
    }

    fn measuring(&self, merge: &KnownMerge<'_>, reestimating: u64, networks: &mut Networks) -> Work {
        score::work(&merge.sources, &merge.known.datasets[0], reestimating, networks)
    }

    fn merge(&self, merging: &Merging<'_>) -> std::result::Result<Merged, StageError> {
        merging.by_formula(&score::chosen(self, merging)?, false)
    }
}

/// What was tried, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The models that were chosen, sorted.
    pub members: Vec<usize>,
    /// Of each model alone.
    pub alone: Vec<f64>,
    /// The others in the order in which they were tried, with the score of the soup that holds them, too.
    pub tried: Vec<(usize, f64)>,
}

/// Chooses among `n` models, 1 or more: the best alone is first, then each, the better alone the earlier, is added
/// unless the score falls. Among equals the order of the models decides. `score` gets sorted models and says how good
/// their mean is: higher is better.
///
/// # Errors
/// That of `score`.
pub fn choose<E>(
    n: usize,
    mut score: impl FnMut(&[usize]) -> std::result::Result<f64, E>,
) -> std::result::Result<Choice, E> {
    let alone = (0..n).map(|model| score(&[model])).collect::<std::result::Result<Vec<_>, E>>()?;
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| alone[b].total_cmp(&alone[a]));
    let (mut members, mut best, mut tried) = (vec![order[0]], alone[order[0]], Vec::new());
    for &model in &order[1..] {
        let mut more = [&members[..], &[model]].concat();
        more.sort_unstable();
        let reached = score(&more)?;
        tried.push((model, reached));
        if reached >= best {
            (members, best) = (more, reached);
        }
    }
    Ok(Choice { members, alone, tried })
}

/// The mean of some of the sources.
#[derive(Clone, Debug, PartialEq)]
pub struct GreedySoup {
    members: Vec<usize>,
    average: Average,
}

impl GreedySoup {
    /// Of the sources at these positions, one or more.
    pub fn of(members: &[usize]) -> Self {
        Self { members: members.to_vec(), average: AverageSpec::default().of(members.len()) }
    }
}

impl MergeTensors for GreedySoup {
    fn merge(&self, name: &str, sources: &[Tensor], base: Option<&Tensor>) -> Result<Tensor> {
        let members: Vec<Tensor> = self.members.iter().map(|&member| sources[member].clone()).collect();
        self.average.merge(name, &members, base)
    }

    /// Those of the members alone.
    fn merges_statistics(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use proptest::prelude::*;

    use super::*;

    /// Chooses by a table of the scores of sets of models.
    fn chosen(n: usize, scores: &[(&[usize], f64)]) -> Choice {
        let score = |models: &[usize]| {
            let found = scores.iter().find(|(known, _)| *known == models);
            found.map(|(_, score)| *score).ok_or_else(|| format!("{models:?} was tried"))
        };
        choose(n, score).unwrap()
    }

    #[test]
    fn the_better_comes_earlier_and_stays_unless_the_soup_gets_worse() {
        let choice = chosen(
            4,
            &[
                (&[0], 0.5),
                (&[1], 0.8),
                (&[2], 0.7),
                (&[3], 0.6),
                (&[1, 2], 0.75),    // worse than 1 alone
                (&[1, 3], 0.8),     // as good: it stays
                (&[0, 1, 3], 0.81), // better
            ],
        );
        assert_eq!(choice.members, [0, 1, 3]);
        assert_eq!(choice.tried, [(2, 0.75), (3, 0.8), (0, 0.81)]);
    }

    #[test]
    fn among_equals_the_order_of_the_models_decides() {
        let choice = chosen(3, &[(&[0], 0.5), (&[1], 0.5), (&[2], 0.5), (&[0, 1], 0.4), (&[0, 2], 0.6)]);
        assert_eq!((choice.members, choice.tried), (vec![0, 2], vec![(1, 0.4), (2, 0.6)]));
    }

    #[test]
    fn the_soup_is_the_mean_of_its_members() {
        let sources = [1f32, 10.0, 3.0].map(|number| Tensor::new(&[number], &Device::Cpu).unwrap());
        let soup = GreedySoup::of(&[0, 2]).merge("a", &sources, None).unwrap();
        assert_eq!(soup.to_vec1::<f32>().unwrap(), [2.0]);
    }

    proptest! {
        /// The score of a set is any function of it: here the numbers of its models, mixed.
        #[test]
        fn the_soup_is_never_worse_than_the_best_model(
            numbers in prop::collection::vec(0..1000_u32, 1..8), salt in 1..97_u32,
        ) {
            let score = |models: &[usize]| {
                let mixed = models.iter().fold(salt, |mixed, &model| mixed.wrapping_mul(31).wrapping_add(numbers[model]));
                Ok::<_, ()>(f64::from(mixed % 101))
            };
            let choice = choose(numbers.len(), score).unwrap();
            let best = choice.alone.iter().copied().fold(0.0, f64::max);
            prop_assert!(score(&choice.members).unwrap() >= best);
            prop_assert!(choice.members.is_sorted() && !choice.members.is_empty());
            prop_assert_eq!(choice.tried.len(), numbers.len() - 1);
        }
    }
}
