//! Greedy soup (Wortsman et al. 2022, "Model soups", arXiv 2203.05482, recipe 1): the mean of the models that, added
//! one by one, do not lower the validation score.

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

/// The mean of the models that, added one by one, do not lower the validation score (greedy soup, arXiv 2203.05482).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GreedySoupSpec {
    /// Metric of the validation score.
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
        score::problem(self, &merge.sources, dataset).into_iter().collect()
    }

    fn measuring(&self, merge: &KnownMerge<'_>, reestimating: u64, networks: &mut Networks) -> Work {
        score::work(&merge.sources, &merge.known.datasets[0], reestimating, networks)
    }

    fn merge(&self, merging: &Merging<'_>) -> std::result::Result<Merged, StageError> {
        merging.by_formula(&score::chosen(self, merging)?, false)
    }
}

/// The candidates and the chosen models.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Indices of the chosen models, sorted.
    pub members: Vec<usize>,
    /// Score of each model alone.
    pub alone: Vec<f64>,
    /// The other models in the order they were tried, each with the score of the soup that includes it.
    pub tried: Vec<(usize, f64)>,
}

/// Choose among `n ≥ 1` models: start with the best model alone, then try the others from best to worst, and add each
/// unless the score falls. Ties are broken by the order of the models. `score` takes sorted indices and returns the
/// score of their mean; higher is better.
///
/// # Errors
/// The error of `score`.
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
    /// The soup of the sources at these positions, one or more.
    pub fn new(members: &[usize]) -> Self {
        Self { members: members.to_vec(), average: AverageSpec::default().build(members.len()) }
    }
}

impl MergeTensors for GreedySoup {
    fn merge(&self, name: &str, sources: &[Tensor], base: Option<&Tensor>) -> Result<Tensor> {
        let members: Vec<Tensor> = self.members.iter().map(|&member| sources[member].clone()).collect();
        self.average.merge(name, &members, base)
    }

    /// Running statistics are averaged over the members alone.
    fn merges_statistics(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use proptest::prelude::*;

    use super::*;

    /// Choose by a table of scores of sets of models.
    fn chosen(n: usize, scores: &[(&[usize], f64)]) -> Choice {
        let score = |models: &[usize]| {
            let found = scores.iter().find(|(known, _)| *known == models);
            found.map(|(_, score)| *score).ok_or_else(|| format!("no score for {models:?}"))
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
                (&[1, 2], 0.75),    // lower than 1 alone
                (&[1, 3], 0.8),     // equal: kept
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
        let soup = GreedySoup::new(&[0, 2]).merge("a", &sources, None).unwrap();
        assert_eq!(soup.to_vec1::<f32>().unwrap(), [2.0]);
    }

    proptest! {
        /// The score of a set is an arbitrary function of it: a hash of its indices.
        #[test]
        fn the_soup_is_never_worse_than_the_best_model(
            elements in prop::collection::vec(0..1000_u32, 1..8), salt in 1..97_u32,
        ) {
            let score = |models: &[usize]| {
                let mixed = models.iter().fold(salt, |mixed, &model| mixed.wrapping_mul(31).wrapping_add(elements[model]));
                Ok::<_, ()>(f64::from(mixed % 101))
            };
            let choice = choose(elements.len(), score).unwrap();
            let best = choice.alone.iter().copied().fold(0.0, f64::max);
            prop_assert!(score(&choice.members).unwrap() >= best);
            prop_assert!(choice.members.is_sorted() && !choice.members.is_empty());
            prop_assert_eq!(choice.tried.len(), elements.len() - 1);
        }
    }
}
