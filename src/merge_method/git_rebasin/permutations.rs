//! Permutations of the axes of named tensors.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use backbone::symmetry::Place;
use nn::StateDict;

/// For each slice of a tensor's axis, the index it comes from, by name and axis. Unnamed tensors and axes are not
/// permuted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permutations(BTreeMap<String, BTreeMap<usize, Vec<u32>>>);

impl Permutations {
    /// Permute the tensor called `name`.
    ///
    /// # Errors
    /// The tensor belongs to another network.
    pub fn apply(&self, name: &str, tensor: &Tensor) -> Result<Tensor> {
        let mut permuted = tensor.clone();
        for (axis, sources) in self.0.get(name).into_iter().flatten() {
            permuted = permute(&permuted, *axis, sources)?;
        }
        Ok(permuted)
    }

    /// Permute all tensors of a model.
    ///
    /// # Errors
    /// See [`Permutations::apply`].
    pub fn apply_to_all(&self, tensors: &StateDict) -> Result<StateDict> {
        tensors.iter().map(|(name, tensor)| Ok((name.clone(), self.apply(name, tensor)?))).collect()
    }

    /// Compose with a further order: unit `order[j]` moves to position `j`.
    pub(crate) fn reorder(&mut self, place: &Place, order: &[usize]) {
        let sources = self.0.entry(place.tensor.clone()).or_default().entry(place.axis).or_default();
        let end = place.start + order.len();
        sources.extend(sources.len() as u32..end.max(sources.len()) as u32);
        let units = sources[place.start..end].to_vec();
        for (source, unit) in sources[place.start..end].iter_mut().zip(order) {
            *source = units[*unit];
        }
    }
}

/// Permute the slices of an axis; those after `sources` stay.
fn permute(tensor: &Tensor, axis: usize, sources: &[u32]) -> Result<Tensor> {
    let length = tensor.dim(axis)? as u32;
    let sources: Vec<u32> = sources.iter().copied().chain(sources.len() as u32..length).collect();
    tensor.index_select(&Tensor::new(sources, tensor.device())?, axis)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use backbone::symmetry::Role;

    #[test]
    fn orders_follow_one_another_each_at_its_place() {
        let place = |start| Place { tensor: "a".into(), axis: 1, start, role: Role::Learned };
        let mut permutations = Permutations::default();
        let applied = |permutations: &Permutations, name: &str| {
            let tensor = Tensor::new(&[[0u32, 1, 2, 3, 4, 5]], &Device::Cpu).unwrap();
            permutations.apply(name, &tensor).unwrap().to_vec2::<u32>().unwrap().remove(0)
        };
        permutations.reorder(&place(2), &[1, 2, 0]);
        assert_eq!(applied(&permutations, "a"), [0, 1, 3, 4, 2, 5]);
        permutations.reorder(&place(2), &[2, 1, 0]);
        assert_eq!(applied(&permutations, "a"), [0, 1, 2, 4, 3, 5]);
        permutations.reorder(&place(0), &[1, 0]);
        assert_eq!(applied(&permutations, "a"), [1, 0, 2, 4, 3, 5]);
        assert_eq!(applied(&permutations, "b"), [0, 1, 2, 3, 4, 5]);
    }
}
