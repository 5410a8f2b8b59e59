//! The merge weights of a layer: how many there are, and which tensors they multiply.

use backbone::KernelGroup;
use merge_method::learned::{slices_name, weights_name};
use nn::init::Parameter;

use super::Granularity;

/// A merged layer and its merge weights per source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerWeights {
    /// Its tensors.
    pub group: KernelGroup,
    /// Name and number of the merge weights of each tensor.
    of_tensors: Vec<(String, usize)>,
}

impl LayerWeights {
    pub(super) fn new(granularity: Granularity, group: KernelGroup, parameters: &[Parameter]) -> Self {
        let shape = |name: &String| parameters.iter().find(|parameter| parameter.name == *name);
        let of_tensor = |name: &String| match shape(name).map(|parameter| &parameter.shape[..]) {
            Some(&[kernels, inputs, _, _]) if granularity == Granularity::Slice => {
                (slices_name(name), kernels * inputs)
            }
            _ => (weights_name(&group), group.kernels),
        };
        let of_tensors = group.tensors.iter().map(of_tensor).collect();
        Self { group, of_tensors }
    }

    /// Name and number of the merge weights of each tensor of the group.
    pub(super) fn of_tensors(&self) -> impl Iterator<Item = &(String, usize)> {
        self.of_tensors.iter()
    }

    /// Names and numbers of all its merge weights, each once.
    pub(super) fn named(&self) -> impl Iterator<Item = &(String, usize)> {
        let first = |(i, named): &(usize, &(String, usize))| !self.of_tensors[..*i].contains(named);
        self.of_tensors.iter().enumerate().filter(first).map(|(_, named)| named)
    }

    /// The numbers of its merge weights.
    pub(super) fn numbers(&self) -> impl Iterator<Item = usize> + '_ {
        self.named().map(|(_, number)| *number)
    }
}
