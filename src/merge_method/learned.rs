//! Kernels combined with merge weights from a `learn_merge_weights` stage (MedMerge, arXiv 2403.11646; AdaMerging,
//! 2310.02575).

use backbone::KernelGroup;
use candle_core::{Result, Tensor, bail};
use identity::{Identity, Role};
use kind::Kind;
use model::{Artifact, Description, Head, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::git_rebasin::Permutations;
use super::{KnownMerge, MergeMethod, Merged, Merging};
use nn::weighted_sum::weighted_sum;
use nn::{StateDict, Value, Values};

/// Kernels combined with merge weights from a `learn_merge_weights` stage (MedMerge, arXiv 2403.11646; AdaMerging,
/// 2310.02575).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LearnedSpec {
    /// The `learn_merge_weights` stage that provides the merge weights.
    pub weights: String,
    /// Stage of the common start, if they were learned with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
}

impl Identity for LearnedSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["weights", "base"]
    }
}

impl Kind for LearnedSpec {}

impl MergeMethod for LearnedSpec {
    fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }

    fn inputs(&self) -> Vec<(Role, &str)> {
        let base = self.base().map(|base| (Role::Base, base));
        base.into_iter().chain([(Role::Weights, self.weights.as_str())]).collect()
    }

    fn head(&self, known: &KnownMerge<'_>) -> std::result::Result<Option<Head>, Vec<String>> {
        let n = known.sources.len();
        let Description::MergeWeights { info, sources, base } = known.known.inputs[n + self.bases()] else {
            return Err(vec![format!(
                "`weights = \"{}\"` is not a `learn_merge_weights` stage",
                self.weights
            )]);
        };
        if *sources != known.known.input_fingerprints[..n] {
            return Err(vec![format!(
                "the merge weights of `{}` were learned for other sources, or in another order; give both stages the \
                 same `sources`",
                self.weights
            )]);
        }
        self.base().map(|name| known.base(name)).transpose()?;
        let own = self.base().map(|_| known.known.input_fingerprints[n]);
        if *base != own {
            return Err(vec![self.other_base(base.is_some())]);
        }
        Ok(info.head.clone())
    }

    /// Memory also holds a stacked copy of the sources.
    fn cost(&self, models: u64, _: &KnownMerge<'_>) -> (u64, u64) {
        (models.saturating_mul(2), 0)
    }

    fn merge(&self, merging: &Merging<'_>) -> std::result::Result<Merged, StageError> {
        let Artifact::MergeWeights(weights) = merging.input(self.bases()) else {
            return Err(StageError::Failed("the `weights` input does not contain merge weights".into()));
        };
        let groups = merging.sources[0].info.backbone.build().kernel_groups();
        let base = self.base().map(|_| merging.context.model(merging.sources.len())).transpose()?;
        let base = base.map(|base| &base.tensors);
        let tensors = merge(&merging.state_dicts(), base, &groups, &weights.tensors)?;
        let permutations = vec![Permutations::default(); merging.sources.len()];
        Ok(Merged { tensors, head: weights.info.head.clone(), permutations })
    }
}

impl LearnedSpec {
    /// The number of inputs between the sources and the merge weights.
    fn bases(&self) -> usize {
        usize::from(self.base.is_some())
    }

    /// Why the merge weights are not for this base; `learned` says whether they are for any.
    fn other_base(&self, learned: bool) -> String {
        let weights = &self.weights;
        match (learned, &self.base) {
            (false, _) => {
                format!("the merge weights of `{weights}` were learned without a base; leave out `base`")
            }
            (true, None) => format!(
                "the merge weights of `{weights}` multiply differences from a common start; name it: \
                 `method.learned = {{ weights = \"{weights}\", base = \"<stage>\" }}`"
            ),
            (true, Some(base)) => format!(
                "the merge weights of `{weights}` were learned with another base than `{base}`; give both stages the \
                 same `base`"
            ),
        }
    }
}

/// Name of a group's merge weights `[sources, kernels]`.
pub fn weights_name(group: &KernelGroup) -> String {
    format!("{}.merge_weights", group.layer)
}

/// Name of the merge weights `[sources, kernels · inputs]` of a convolution's tensor, one per slice of a kernel.
pub fn slices_name(tensor: &str) -> String {
    format!("{tensor}.merge_weights")
}

/// The tensors of every group, stacked over the sources, `[sources, kernels, ..]`, by name. With a base: the differences
/// of the sources from it, and then the base itself.
///
/// # Errors
/// A model lacks a tensor, or shapes differ.
pub fn stacked(
    sources: &[&StateDict],
    base: Option<&StateDict>,
    groups: &[KernelGroup],
) -> Result<StateDict> {
    let names = groups.iter().flat_map(|group| &group.tensors);
    let stack = |name: &String| {
        let of = |model: &StateDict| match model.get(name) {
            Some(tensor) => Ok(tensor.detach()),
            None => bail!("a model has no tensor `{name}`"),
        };
        let mut tensors = sources.iter().map(|source| of(source)).collect::<Result<Vec<Tensor>>>()?;
        if let Some(base) = base.map(of).transpose()? {
            tensors = tensors.iter().map(|source| source - &base).collect::<Result<_>>()?;
            tensors.push(base);
        }
        Ok((name.clone(), Tensor::stack(&tensors, 0)?.contiguous()?))
    };
    names.map(stack).collect()
}

/// Merge weights `[sources, kernels]` for [`stacked`] tensors: a base is a last row of ones.
fn with_base(weights: &Tensor, has_base: bool) -> Result<Tensor> {
    if has_base {
        Tensor::cat(&[weights, &weights.narrow(0, 0, 1)?.ones_like()?], 0)?.contiguous()
    } else {
        Ok(weights.clone())
    }
}

/// The groups restricted to the `wanted` tensors; groups without any are left out.
pub fn left(groups: &[KernelGroup], wanted: impl Fn(&String) -> bool) -> Vec<KernelGroup> {
    let left = groups.iter().map(|group| KernelGroup {
        tensors: group.tensors.iter().filter(|name| wanted(name)).cloned().collect(),
        ..group.clone()
    });
    left.filter(|group| !group.tensors.is_empty()).collect()
}

/// `W[k] = Σ_i w_i[k] · W_i[k]` for every tensor of every group, differentiable in the merge weights. Each group comes
/// with the merge weights `[stacked, kernels]` of each of its tensors, or `[stacked, kernels · inputs]` if each slice of
/// a kernel has its own.
///
/// # Errors
/// Shapes do not match.
pub fn merged_kernels<'a>(
    stacked: &StateDict,
    groups: impl Iterator<Item = Result<(&'a KernelGroup, Vec<Value>)>>,
) -> Result<Values> {
    let mut merged = Values::new();
    for group in groups {
        let (group, weights) = group?;
        for (name, weights) in group.tensors.iter().zip(weights) {
            merged.insert(name.clone(), weighted_sum(&weights, &stacked[name])?);
        }
    }
    Ok(merged)
}

/// Fold learned merge weights into one plain `state_dict`. Tensors that `learned` contains under their own names are
/// not merged but copied: the head, running statistics, batch counts, and norms that are the anchor's or trained.
///
/// With a base B: `W[k] = B[k] + Σ_i w_i[k] · (W_i[k] − B[k])`.
///
/// # Errors
/// Merge weights are missing for a group, or are for other sources.
pub fn merge(
    sources: &[&StateDict],
    base: Option<&StateDict>,
    groups: &[KernelGroup],
    learned: &StateDict,
) -> Result<StateDict> {
    let weights = |group| {
        let of =
            |tensor: &String| match learned.get(&slices_name(tensor)).or(learned.get(&weights_name(group))) {
                Some(weights) => Ok(Value::constant(with_base(weights, base.is_some())?)),
                None => bail!("no merge weights for layer `{}`", group.layer),
            };
        Ok((group, group.tensors.iter().map(of).collect::<Result<_>>()?))
    };
    let mut tensors = sources[0].clone();
    let groups = left(groups, |name| !learned.contains_key(name));
    let merged = merged_kernels(&stacked(sources, base, &groups)?, groups.iter().map(weights))?;
    tensors.extend(merged.into_iter().map(|(name, value)| (name, value.tensor().clone())));
    let head = learned.iter().filter(|(name, _)| !name.ends_with(".merge_weights"));
    tensors.extend(head.map(|(name, tensor)| (name.clone(), tensor.clone())));
    Ok(tensors)
}
