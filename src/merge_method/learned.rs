//! Every kernel with the numbers that a `learn_merge_weights` stage learnt (MedMerge, arXiv 2403.11646).

use candle_core::{Result, Tensor, bail};
use serde::{Deserialize, Serialize};

use backbone::KernelGroup;
use nn::weighted_sum::weighted_sum;
use nn::{StateDict, Value, Values};

/// Options of the learned merge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnedSpec {
    /// The `learn_merge_weights` stage whose numbers to use.
    #[serde(skip_serializing)]
    pub weights: String,
}

/// Name of a group's merge weights `[sources, kernels]`.
pub fn weights_name(group: &KernelGroup) -> String {
    format!("{}.merge_weights", group.layer)
}

/// The tensors of every group of each source, stacked `[sources, kernels, ..]`, by name.
///
/// # Errors
/// A source lacks a tensor, or has it in another shape.
pub fn stacked(sources: &[&StateDict], groups: &[KernelGroup]) -> Result<StateDict> {
    let names = groups.iter().flat_map(|group| &group.tensors);
    let stack = |name: &String| {
        let of = |source: &&StateDict| match source.get(name) {
            Some(tensor) => Ok(tensor.detach()),
            None => bail!("a source has no tensor `{name}`"),
        };
        let tensors = sources.iter().map(of).collect::<Result<Vec<Tensor>>>()?;
        Ok((name.clone(), Tensor::stack(&tensors, 0)?.contiguous()?))
    };
    names.map(stack).collect()
}

/// The groups with only those of their tensors that are `wanted`; what has none left is left out.
pub fn left(groups: &[KernelGroup], wanted: impl Fn(&String) -> bool) -> Vec<KernelGroup> {
    let left = groups.iter().map(|group| KernelGroup {
        tensors: group.tensors.iter().filter(|name| wanted(name)).cloned().collect(),
        ..group.clone()
    });
    left.filter(|group| !group.tensors.is_empty()).collect()
}

/// W[k] = Σ_i w_i[k] · W_i[k] for every tensor of every group, differentiable in the merge weights.
/// `weights` maps a group to its `[sources, kernels]` numbers.
///
/// # Errors
/// Shapes that do not fit together.
pub fn merged_kernels(
    stacked: &StateDict,
    groups: &[KernelGroup],
    weights: impl Fn(&KernelGroup) -> Result<Value>,
) -> Result<Values> {
    let mut merged = Values::new();
    for group in groups {
        let weights = weights(group)?;
        for name in &group.tensors {
            merged.insert(name.clone(), weighted_sum(&weights, &stacked[name])?);
        }
    }
    Ok(merged)
}

/// Fold learnt numbers into one plain state_dict. What `learnt` holds by its own name is not merged, but taken from
/// there: the head, running statistics and counts, and norms that were left the anchor's.
///
/// # Errors
/// Numbers are missing for a group, or are for other sources.
pub fn merge(sources: &[&StateDict], groups: &[KernelGroup], learnt: &StateDict) -> Result<StateDict> {
    let weights = |group: &KernelGroup| match learnt.get(&weights_name(group)) {
        Some(weights) => Ok(Value::constant(weights.clone())),
        None => bail!("no merge weights for layer `{}`", group.layer),
    };
    let mut tensors = sources[0].clone();
    let groups = &left(groups, |name| !learnt.contains_key(name));
    let merged = merged_kernels(&stacked(sources, groups)?, groups, weights)?;
    tensors.extend(merged.into_iter().map(|(name, value)| (name, value.tensor().clone())));
    let head = learnt.iter().filter(|(name, _)| !name.ends_with(".merge_weights"));
    tensors.extend(head.map(|(name, tensor)| (name.clone(), tensor.clone())));
    Ok(tensors)
}
