//! Applying merge matrices M and unmerge matrices U to named tensors.

use std::collections::BTreeMap;

use backbone::symmetry::Place;
use candle_core::{Result, Tensor, bail};

use super::matching::Groups;
use crate::MergeTensors;
use crate::combination::{combination, mean};

/// L* = Σ_i M_i·L_i·U_i for each layer.
///
/// M_i takes the mean of the units of each group wherever units are made, biases and norms included; U_i gives each
/// unit the merged unit of its group wherever units are read. A layer whose outputs are not grouped, the classifier, is
/// the mean over the sources; the inputs of a layer that reads pixels stay.
#[derive(Default)]
pub struct Zipped {
    axes: BTreeMap<String, BTreeMap<usize, Axis>>,
}

/// The groups of the units along an axis of a tensor.
#[derive(Default)]
struct Axis {
    /// Whether the units are read along this axis, not made.
    read: bool,
    /// For each source, the index of the merged unit of each unit.
    merged: Vec<Vec<u32>>,
    /// Number of units in each merged unit.
    counts: Vec<f32>,
}

impl Zipped {
    /// Group the units at each of these places.
    pub fn add(&mut self, places: &[Place], groups: &Groups) {
        for place in places {
            let axes = self.axes.entry(place.tensor.clone()).or_default();
            let axis = axes.entry(place.axis).or_default();
            axis.read = place.is_read();
            axis.add(place.start, groups);
        }
    }
}

impl Axis {
    /// Group the units from index `start` on. Units before it that are not grouped yet are replaced later.
    fn add(&mut self, start: usize, groups: &Groups) {
        let end = start + groups.counts.len();
        self.merged.resize(groups.merged.len(), Vec::new());
        for (all, merged) in self.merged.iter_mut().zip(&groups.merged) {
            all.resize(all.len().max(end), NONE);
            let places = all[start..end].iter_mut();
            places.zip(merged).for_each(|(place, merged)| *place = start as u32 + merged);
        }
        self.counts.resize(self.counts.len().max(end), 0.0);
        let places = self.counts[start..end].iter_mut();
        places.zip(&groups.counts).for_each(|(place, &count)| *place = count as f32);
    }

    /// M_i or U_i applied along dimension `axis` of a tensor of source `source`.
    fn apply(&self, axis: usize, source: usize, tensor: &Tensor) -> Result<Tensor> {
        let merged = &self.merged[source];
        if tensor.dim(axis)? != merged.len() || merged.contains(&NONE) {
            bail!(
                "{} units are matched along dimension {axis} of a tensor of shape {:?}; is it from another backbone?",
                merged.iter().filter(|&&unit| unit != NONE).count(),
                tensor.dims()
            );
        }
        let index = Tensor::new(merged.as_slice(), tensor.device())?;
        let sums = tensor.zeros_like()?.index_add(&index, &tensor.contiguous()?, axis)?;
        if self.read {
            return Ok(sums);
        }
        let mut shape = vec![1; tensor.rank()];
        shape[axis] = self.counts.len();
        let counts = Tensor::new(self.counts.as_slice(), tensor.device())?.to_dtype(tensor.dtype())?;
        sums.broadcast_div(&counts.reshape(shape)?)
    }
}

/// A unit that is in no group.
const NONE: u32 = u32::MAX;

impl MergeTensors for Zipped {
    fn merge(&self, name: &str, sources: &[Tensor], _: Option<&Tensor>) -> Result<Tensor> {
        let Some(axes) = self.axes.get(name) else { return mean(sources) };
        let mut zipped = Vec::new();
        for (i, source) in sources.iter().enumerate() {
            let mut tensor = source.clone();
            for (&dimension, axis) in axes {
                tensor = axis.apply(dimension, i, &tensor)?;
            }
            zipped.push(tensor);
        }
        match axes.values().any(|axis| !axis.read) {
            true => combination(zipped.iter().map(|tensor| (tensor, 1.0))),
            false => mean(&zipped),
        }
    }

    /// Running statistics are merged with their channels.
    fn merges_statistics(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use backbone::symmetry::Role;
    use candle_core::Device;

    use super::*;

    fn matrix(rows: &[[f32; 3]; 3]) -> Tensor {
        Tensor::new(rows, &Device::Cpu).unwrap()
    }

    /// Units 0 and 2 of the first source and none of the second; unit 1 of both; unit 0 and 2 of the second.
    fn groups() -> Groups {
        Groups { merged: vec![vec![0, 1, 0], vec![2, 1, 2]], counts: vec![2, 2, 2] }
    }

    fn zipped(axis: usize) -> Zipped {
        let mut zipped = Zipped::default();
        zipped.add(&[Place { tensor: "w".into(), axis, start: 0, role: Role::Learned }], &groups());
        zipped
    }

    #[test]
    fn units_are_averaged_where_they_are_made_and_added_where_they_are_read() {
        let a = matrix(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]);
        let b = (&a * 10.0).unwrap();
        let merged =
            |axis| zipped(axis).merge("w", &[a.clone(), b.clone()], None).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(merged(0), [[4.0, 5.0, 6.0], [22.0, 27.5, 33.0], [40.0, 50.0, 60.0]]);
        // nobody grouped the outputs, so this is half of the sum
        assert_eq!(merged(1), [[2.0, 11.0, 20.0], [5.0, 27.5, 50.0], [8.0, 44.0, 80.0]]);
    }

    #[test]
    fn a_tensor_of_another_size_is_refused() {
        let narrow = Tensor::new(&[1f32, 2.0], &Device::Cpu).unwrap();
        let error = zipped(0).merge("w", &[narrow.clone(), narrow], None).unwrap_err().to_string();
        assert!(error.contains("is it from another backbone?"), "{error}");
    }
}
