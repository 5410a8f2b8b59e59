//! Merge methods: functions over named tensors, independent of the architecture.
//!
//! A method is a file with a spec, whose keys the experiment file has, and its [`MergeMethod`]. Most are a
//! [`MergeTensors`], a formula over the tensors of one name: [`merge`](fn@merge) walks through the names, so that only
//! one layer is in memory. What a method measures before it merges (information, permutations) it measures itself, in
//! [`MergeMethod::merge`].
//!
//! | file | what |
//! |---|---|
//! | [`method`] | [`MergeMethod`]: everything about a kind |
//! | `combination`, `cholesky`, `singular` | arithmetic that several methods share |
//! | `measure`, `features`, `linear_maps` | what enters layers on training images; units compared by it; layers fitted to it |
//! | the others | a method each |
//!
//! To add one: a file here with a spec that implements [`MergeMethod`], a `mod` line and a line in [`MergeMethodSpec`].

pub mod average;
mod cholesky;
mod combination;
pub mod dare;
mod features;
pub mod fisher;
pub mod git_rebasin;
pub mod glmc;
pub mod greedy_soup;
pub mod iso_c;
pub mod learned;
mod linear_maps;
mod measure;
pub mod method;
pub mod model_stock;
pub mod pleas;
pub mod regmean;
mod singular;
pub mod slerp;
pub mod task_arithmetic;
pub mod ties;
pub mod tsv_m;
pub mod uniform_soup;
pub mod wise_ft;
pub mod zipit;

use candle_core::{Result, Tensor, bail};
use kind::kinds;
use nn::StateDict;

pub use method::{KnownMerge, MergeMethod, Merged, Merging, needs};

/// The largest factor of a task vector.
const LARGEST_SCALING: f64 = 1000.0;

kinds! {
    /// The merge method: `method = "average"` or `method.<name> = { … }`.
    pub enum MergeMethodSpec: MergeMethod {
        Average(average::AverageSpec),
        UniformSoup(uniform_soup::UniformSoupSpec),
        WiseFt(wise_ft::WiseFtSpec),
        TaskArithmetic(task_arithmetic::TaskArithmeticSpec),
        Ties(ties::TiesSpec),
        Dare(dare::DareSpec),
        Slerp(slerp::SlerpSpec),
        ModelStock(model_stock::ModelStockSpec),
        TsvM(tsv_m::TsvMSpec),
        IsoC(iso_c::IsoCSpec),
        GitRebasin(git_rebasin::GitRebasinSpec),
        Glmc(glmc::GlmcSpec),
        Learned(learned::LearnedSpec),
        GreedySoup(greedy_soup::GreedySoupSpec),
        Fisher(fisher::FisherSpec),
        Regmean(regmean::RegmeanSpec),
        Zipit(zipit::ZipitSpec),
        Pleas(pleas::PleasSpec),
    }
}

/// Merges the tensors of one name.
pub trait MergeTensors: Send + Sync {
    /// Merge the sources' tensors of `name`, which are floating-point and have one shape; `base` is the tensor of the
    /// common start, if there is one.
    ///
    /// # Errors
    /// A tensor operation failed, or the method has no data for this tensor.
    fn merge(&self, name: &str, sources: &[Tensor], base: Option<&Tensor>) -> Result<Tensor>;

    /// Whether batch norm's running statistics are merged like parameters. By default they are averaged over the
    /// sources.
    fn merges_statistics(&self) -> bool {
        false
    }
}

/// Tensors by name, read on demand.
pub trait NamedTensors: Sync {
    /// The names, in order.
    fn names(&self) -> Vec<&str>;

    /// The tensor with this name, if any.
    ///
    /// # Errors
    /// The tensor cannot be read.
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

/// Merge name by name: the result of [`merge_name`] for each name of the first source goes to `put` before the next one
/// is computed.
///
/// # Errors
/// A tensor cannot be read, merged or written, or the base lacks it.
pub fn merge(
    method: &dyn MergeTensors,
    sources: &[&dyn NamedTensors],
    base: Option<&dyn NamedTensors>,
    mut put: impl FnMut(&str, Tensor) -> Result<()>,
) -> Result<()> {
    for name in sources[0].names() {
        if let Some(tensor) = merge_name(method, name, sources, base)? {
            put(name, tensor)?;
        }
    }
    Ok(())
}

/// Merge the tensors of one name, if all sources have it in the same shape. Batch counts (`num_batches_tracked`) are
/// the first source's; batch norm's running statistics are averaged, unless the method merges them.
///
/// # Errors
/// A tensor cannot be read or merged, or the base lacks it.
pub fn merge_name(
    method: &dyn MergeTensors,
    name: &str,
    sources: &[&dyn NamedTensors],
    base: Option<&dyn NamedTensors>,
) -> Result<Option<Tensor>> {
    let tensors = sources.iter().map(|source| source.tensor(name)).collect::<Result<Option<Vec<_>>>>()?;
    let Some(tensors) = tensors.filter(|all| all.iter().all(|one| one.dims() == all[0].dims())) else {
        return Ok(None);
    };
    if !tensors[0].dtype().is_float() {
        return Ok(Some(tensors[0].clone()));
    }
    if is_running_statistic(name) && !method.merges_statistics() {
        return combination::mean(&tensors).map(Some);
    }
    let base = match base.map(|base| base.tensor(name)).transpose()? {
        Some(None) => bail!("the base has no tensor `{name}`"),
        Some(Some(tensor)) if tensor.dims() != tensors[0].dims() => bail!(
            "`{name}` has shape {:?} in the base, but {:?} in the sources",
            tensor.dims(),
            tensors[0].dims()
        ),
        base => base.flatten(),
    };
    method.merge(name, &tensors, base.as_ref()).map(Some)
}

/// Whether a tensor is batch norm's running mean or variance, as PyTorch names them.
pub fn is_running_statistic(name: &str) -> bool {
    matches!(name.rsplit('.').next(), Some("running_mean" | "running_var"))
}

/// [`merge`] of models in memory.
///
/// # Errors
/// See [`merge`].
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
mod matched_tests;
#[cfg(test)]
mod measured_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// Returns the last source's tensor, or the base's.
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
    fn running_statistics_are_averaged_unless_the_method_merges_them() {
        let statistic = |value: f32| {
            StateDict::from([("bn1.running_var".into(), Tensor::new(&[value], &Device::Cpu).unwrap())])
        };
        let merged = |method: &dyn MergeTensors| {
            let merged = merge_in_memory(method, &[&statistic(1.0), &statistic(4.0)], None).unwrap();
            merged["bn1.running_var"].to_vec1::<f32>().unwrap()
        };
        assert_eq!(merged(&Last), [2.5]);
        let weights = Some(vec![2.0, 1.0]);
        assert_eq!(merged(&average::AverageSpec { weights }.build(2)), [2.0]);
    }

    #[test]
    fn a_method_is_named_as_it_is_written() {
        for name in [
            "average",
            "uniform_soup",
            "wise_ft",
            "task_arithmetic",
            "ties",
            "dare",
            "slerp",
            "model_stock",
            "tsv_m",
            "iso_c",
        ] {
            let spec: MergeMethodSpec = serde_json::from_value(serde_json::json!({ name: {} })).unwrap();
            assert_eq!(spec.kind(), name);
            assert!(spec.formula(2).is_some());
            assert_eq!(spec.base(), None);
        }
    }

    #[test]
    fn a_base_of_another_shape_is_an_error_that_names_the_tensor() {
        let (a, b) = (source(&[1.0]), source(&[2.0]));
        let refused = |base: &StateDict| {
            let error = merge_in_memory(&Last, &[&a, &b], Some(base)).unwrap_err().to_string();
            error.lines().next().unwrap().to_owned() // a backtrace may follow
        };
        assert_eq!(refused(&StateDict::new()), "the base has no tensor `a.weight`");
        assert_eq!(
            refused(&source(&[1.0, 2.0])),
            "`a.weight` has shape [2] in the base, but [1] in the sources"
        );
    }
}
