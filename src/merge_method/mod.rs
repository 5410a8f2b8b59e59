//! Merge methods: functions over named tensors; they never see an architecture.
//!
//! A method is a file with a spec, what the experiment file says, and a [`MergeTensors`], which merges the tensors
//! of one name at a time: [`merge`] walks through the names, so that no more than one layer is in memory. What a
//! method must know beside the tensors (learnt numbers, permutations) is measured before, and is part of its
//! [`MergeTensors`].
//!
//! To add one: a file here, a `mod` line, a variant of [`MergeMethodSpec`] and its arms in
//! [`crate::stage::merge`].

pub mod average;
pub mod git_rebasin;
pub mod learned;

use candle_core::{Result, Tensor, bail};
use serde::{Deserialize, Serialize};

use crate::nn::StateDict;

/// How models are merged: `method = "average"` or `method.<name> = { … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeMethodSpec {
    /// The (weighted) mean of every tensor.
    Average(average::AverageSpec),
    /// The (weighted) mean of sources whose units were put in the same order first.
    GitRebasin(git_rebasin::GitRebasinSpec),
    /// Every kernel with the numbers that a `learn_merge_weights` stage learnt.
    Learned(learned::LearnedSpec),
}

impl MergeMethodSpec {
    /// Each source's share, which add up to 1, if the method is a weighted mean of the sources' units.
    pub fn shares(&self, sources: usize) -> Option<Vec<f64>> {
        match self {
            Self::Average(spec) => Some(spec.of(sources).shares().to_vec()),
            Self::GitRebasin(spec) => Some(spec.average().of(sources).shares().to_vec()),
            Self::Learned(_) => None,
        }
    }
}

/// Merges the tensors of one name.
pub trait MergeTensors {
    /// One tensor of all sources' tensors of `name`, which are of one shape and of floating-point numbers;
    /// `base` is that of the common start, if there is one.
    ///
    /// # Errors
    /// A tensor operation failed, or the method knows nothing of this tensor.
    fn merge(&self, name: &str, sources: &[Tensor], base: Option<&Tensor>) -> Result<Tensor>;
}

/// Tensors by name, read when they are asked for.
pub trait NamedTensors {
    /// Their names, in order.
    fn names(&self) -> Vec<&str>;

    /// The tensor of a name, if there is one.
    ///
    /// # Errors
    /// It cannot be read.
    fn tensor(&self, name: &str) -> Result<Option<Tensor>>;
}

impl NamedTensors for StateDict {
    fn names(&self) -> Vec<&str> {
        self.keys().map(String::as_str).collect()
    }

    fn tensor(&self, name: &str) -> Result<Option<Tensor>> {
        Ok(self.get(name).cloned())
    }
}

/// Merge name by name: every floating-point tensor that all sources have in the same shape. Counts
/// (`num_batches_tracked`) are the first source's. Each result is handed to `put` before the next is made.
///
/// # Errors
/// A tensor cannot be read, merged or put away, or the base lacks it.
pub fn merge(
    method: &dyn MergeTensors,
    sources: &[&dyn NamedTensors],
    base: Option<&dyn NamedTensors>,
    mut put: impl FnMut(&str, Tensor) -> Result<()>,
) -> Result<()> {
    for name in sources[0].names() {
        let tensors = sources.iter().map(|source| source.tensor(name)).collect::<Result<Option<Vec<_>>>>()?;
        let Some(tensors) = tensors.filter(|all| all.iter().all(|one| one.dims() == all[0].dims())) else {
            continue;
        };
        if !tensors[0].dtype().is_float() {
            put(name, tensors[0].clone())?;
            continue;
        }
        let base = match base.map(|base| base.tensor(name)).transpose()? {
            Some(None) => bail!("the base has no tensor `{name}`"),
            Some(Some(tensor)) if tensor.dims() != tensors[0].dims() => bail!(
                "the base has `{name}` in the shape {:?}, the sources in {:?}",
                tensor.dims(),
                tensors[0].dims()
            ),
            base => base.flatten(),
        };
        put(name, method.merge(name, &tensors, base.as_ref())?)?;
    }
    Ok(())
}

/// [`merge`] of models in memory.
///
/// # Errors
/// As of [`merge`].
pub fn merge_in_memory(
    method: &dyn MergeTensors,
    sources: &[&StateDict],
    base: Option<&StateDict>,
) -> Result<StateDict> {
    let sources: Vec<&dyn NamedTensors> = sources.iter().map(|source| *source as &dyn NamedTensors).collect();
    let mut merged = StateDict::new();
    let put = |name: &str, tensor| {
        merged.insert(name.to_owned(), tensor);
        Ok(())
    };
    merge(method, &sources, base.map(|base| base as &dyn NamedTensors), put)?;
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// The last source's tensor, or the base's.
    struct Last;

    impl MergeTensors for Last {
        fn merge(&self, _: &str, sources: &[Tensor], base: Option<&Tensor>) -> Result<Tensor> {
            Ok(base.unwrap_or(&sources[sources.len() - 1]).clone())
        }
    }

    fn source(values: &[f32]) -> StateDict {
        let tensor = Tensor::new(values, &Device::Cpu).unwrap();
        let count = Tensor::new(values.len() as i64, &Device::Cpu).unwrap();
        StateDict::from([("a.weight".into(), tensor), ("a.num_batches_tracked".into(), count)])
    }

    #[test]
    fn counts_are_the_first_sources() {
        let merged = merge_in_memory(&Last, &[&source(&[1.0]), &source(&[3.0])], None).unwrap();
        assert_eq!(merged["a.weight"].to_vec1::<f32>().unwrap(), [3.0]);
        assert_eq!(merged["a.num_batches_tracked"].to_scalar::<i64>().unwrap(), 1);
    }

    #[test]
    fn a_tensor_of_different_shapes_is_left_out() {
        let merged = merge_in_memory(&Last, &[&source(&[1.0]), &source(&[1.0, 2.0])], None).unwrap();
        assert!(!merged.contains_key("a.weight"));
    }

    #[test]
    fn a_base_of_another_shape_is_refused_by_name() {
        let (a, b) = (source(&[1.0]), source(&[2.0]));
        let refused =
            |base: &StateDict| merge_in_memory(&Last, &[&a, &b], Some(base)).unwrap_err().to_string();
        assert_eq!(refused(&StateDict::new()), "the base has no tensor `a.weight`");
        assert_eq!(
            refused(&source(&[1.0, 2.0])),
            "the base has `a.weight` in the shape [2], the sources in [1]"
        );
    }
}
