//! Comparing the units of several networks by their activations on the same images.
//!
//! Units are compared where the last layer that reads them gets them, at every position of every image. In a residual
//! network these are activations after the ReLU: between two layers of a block, what enters the second; in a residual
//! stream, what leaves its last block, be it for the shortcut of the next stage or for the last pool. ZipIt (arXiv
//! 2305.03053) takes the same features. In a dense network they are the channels of a segment after norm and ReLU.

use backbone::Backbone;
use backbone::symmetry::{Place, Role, Symmetry};
use candle_core::{DType, Result, Tensor, bail};
use dataset::SplitName;
use model::{KnownDataset, ModelInfo, Networks, StageError, Work};
use nn::cost::{product, sum};
use nn::{POOL, StateDict, add_to};

use crate::linear_maps;
use crate::measure::{F64, Measured, Passes, joint_batch, within_budget};
use crate::{KnownMerge, Merging};

/// Variances below this fraction of the mean square are rounding errors: the unit is constant.
const CONSTANT: f64 = 1e-12;

/// Units that can be matched by activations: any two of them can be swapped.
pub(crate) struct UnitSet {
    /// Number of units.
    pub size: usize,
    /// Where they occur.
    pub places: Vec<Place>,
    /// The layer whose input shows them.
    layer: String,
    /// The input's channel with the first unit.
    start: usize,
}

/// The sets of units of a network.
///
/// # Errors
/// Some units are the channels of attention heads, or no layer reads them.
pub(crate) fn unit_sets(symmetries: Vec<Symmetry>) -> std::result::Result<Vec<UnitSet>, String> {
    symmetries.into_iter().map(unit_set).collect()
}

fn unit_set(Symmetry { groups, mut sets }: Symmetry) -> std::result::Result<UnitSet, String> {
    let units = match (groups, sets.len()) {
        (1, 1) => sets.remove(0),
        _ => {
            return Err(String::from(
                "the channels of attention heads cannot be matched freely by their activations, because a channel of a \
                 query is tied to one of a key, and channels to their head",
            ));
        }
    };
    let Some(reader) = units.places.iter().rfind(|place| place.is_read()) else {
        return Err(format!("no layer reads the units of `{}`", units.places[0].tensor));
    };
    let layer = match reader.role {
        Role::Head => POOL.to_owned(),
        _ => reader.tensor.trim_end_matches(".weight").to_owned(),
    };
    Ok(UnitSet { size: units.size, layer, start: reader.start, places: units.places })
}

/// Why a method cannot match the units of these sources by activations, if it cannot.
pub(crate) fn unmatchable(method: &str, merge: &KnownMerge<'_>) -> Option<String> {
    let backbone = &merge.sources[0].backbone;
    let problem = unit_sets(backbone.build().symmetries()).err()?;
    Some(format!("{method} is not defined for {}: {problem}; use `git_rebasin`", backbone.kind()))
}

/// Second moments of the units of all sources, in f64.
pub(crate) struct Moments {
    /// Number of sources.
    pub sources: usize,
    /// Number of units of each source.
    pub units: usize,
    /// Σ x·xᵀ over positions for x the units of all sources, source by source, and a final 1: row-major.
    sums: Vec<f64>,
}

impl Moments {
    /// The moments of rows `[positions, units]` of each source.
    ///
    /// # Errors
    /// The sources have different numbers of rows or units.
    #[cfg(test)]
    pub(crate) fn of(rows: &[Tensor]) -> Result<Self> {
        Self::new(rows.len(), rows[0].dim(1)?, &second_moments(rows)?)
    }

    fn new(sources: usize, units: usize, sums: &Tensor) -> Result<Self> {
        let sums = linear_maps::elements(sums)?;
        if sums.iter().any(|sum| !sum.is_finite()) {
            bail!("activations are not finite");
        }
        Ok(Self { sources, units, sums })
    }

    /// Number of units of all sources.
    pub(crate) fn len(&self) -> usize {
        self.sources * self.units
    }

    fn sum(&self, i: usize, j: usize) -> f64 {
        self.sums[i * (self.len() + 1) + j]
    }

    /// Mean of xᵢ·xⱼ.
    fn mean_product(&self, i: usize, j: usize) -> f64 {
        self.sum(i, j) / self.sum(self.len(), self.len())
    }

    fn mean(&self, i: usize) -> f64 {
        self.mean_product(i, self.len())
    }

    /// Σ xᵢ·yⱼ over positions for units x of the first source and y of another: row-major.
    pub(crate) fn inner_products(&self, other: usize) -> Vec<f64> {
        let (n, start) = (self.units, other * self.units);
        (0..n * n).map(|p| self.sum(p / n, start + p % n)).collect()
    }

    /// The correlation of each pair of units of all sources: row-major, symmetric.
    ///
    /// A unit that is constant has correlation 0 with any other, except that equal constants of different sources are
    /// interchangeable: their correlation is 1. Otherwise a unit that never fires would be kept in the place of one
    /// that does.
    pub(crate) fn correlations(&self) -> Vec<f64> {
        let n = self.len();
        let deviations: Vec<Option<f64>> = (0..n).map(|i| self.deviation(i)).collect();
        let of = |i: usize, j: usize| match (deviations[i], deviations[j]) {
            (Some(a), Some(b)) => {
                ((self.mean_product(i, j) - self.mean(i) * self.mean(j)) / (a * b)).clamp(-1.0, 1.0)
            }
            (None, None) if i / self.units != j / self.units && self.mean(i) == self.mean(j) => 1.0,
            _ => 0.0,
        };
        (0..n * n).map(|p| of((p / n).min(p % n), (p / n).max(p % n))).collect()
    }

    /// The standard deviation of a unit; `None` if it is constant.
    fn deviation(&self, i: usize) -> Option<f64> {
        let square = self.mean_product(i, i);
        let variance = square - self.mean(i).powi(2);
        (variance > CONSTANT * square).then(|| variance.sqrt())
    }
}

/// Σ x·xᵀ for rows x of all sources side by side and a final 1. The rows of a batch are summed at once: in pieces, the
/// sums would round in another way.
fn second_moments(rows: &[Tensor]) -> Result<Tensor> {
    let ones = rows[0].narrow(1, 0, 1)?.ones_like()?;
    let all = rows.iter().chain([&ones]).map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
    let all = Tensor::cat(&all, 1)?.to_dtype(DType::F64)?;
    nn::LayerInput::Rows(&all).gram()
}

/// Bytes of the moments of a set.
fn bytes(set: &UnitSet, sources: usize) -> u64 {
    let side = product([sources as u64, set.size as u64]).saturating_add(1);
    product([F64, side, side])
}

/// Measure the moments of each set of units on at most `images` training images, and pass them to `take`, set by set.
///
/// # Errors
/// `take` failed, activations are not finite, a tensor operation failed, or the user interrupted.
pub(crate) fn measure<'s>(
    merging: &Merging<'_>,
    sets: &'s [UnitSet],
    images: usize,
    mut take: impl FnMut(&'s UnitSet, Moments) -> Result<()>,
) -> std::result::Result<(), StageError> {
    let (context, networks) = (merging.context, merging.state_dicts());
    let info = &merging.sources[0].info;
    let backbone = info.backbone.build();
    let images = merging.drawn(merging.dataset().train.len(), images);
    let batch = joint_batch(&*backbone, networks.len(), merging.dataset().size);
    let normalize = &info.normalize;
    let measured = Measured { backbone: &*backbone, normalize, classes: 0, images: &images, context };
    let groups = within_budget(sets, |set| bytes(set, networks.len()));
    let mut progress = Passes::new(context, groups.len() * networks.len() * images.len());
    for group in groups {
        let sums = sums(&measured, &networks, group, batch, &mut progress)?;
        for (set, sums) in group.iter().zip(sums) {
            let failed =
                |error| StageError::Failed(format!("failed to match the inputs of `{}`: {error}", set.layer));
            let moments = Moments::new(networks.len(), set.size, &sums).map_err(failed)?;
            take(set, moments)?;
            progress.add(0)?;
        }
    }
    Ok(())
}

/// The second moments of each of some sets.
fn sums(
    measured: &Measured<'_>,
    networks: &[&StateDict],
    sets: &[UnitSet],
    batch: usize,
    progress: &mut Passes<'_>,
) -> std::result::Result<Vec<Tensor>, StageError> {
    let mut layers: Vec<&str> = sets.iter().map(|set| set.layer.as_str()).collect();
    layers.sort_unstable();
    layers.dedup();
    let mut sums: Vec<Option<Tensor>> = vec![None; sets.len()];
    measured.watch_jointly(networks, &layers, batch, progress, |layer, inputs| {
        for (set, sum) in sets.iter().zip(&mut sums).filter(|(set, _)| set.layer == layer) {
            let rows = inputs.iter().map(|input| input.channels(set.start, set.size));
            let moments = second_moments(&rows.collect::<Result<Vec<_>>>()?)?;
            add_to(sum, moments)?;
        }
        Ok(())
    })?;
    let no_images = || StageError::Failed("the data set has no training images to measure on".into());
    sums.into_iter().map(|sum| sum.ok_or_else(no_images)).collect()
}

/// The work of [`measure`]: one pass over the images for each source and group of sets. Moments cost as much as the
/// layer that reads the units, times the pairs of units over the layer's weights; layers are assumed to cost the same.
pub(crate) fn work(
    images: usize,
    sources: &[&ModelInfo],
    dataset: &KnownDataset<'_>,
    networks: &mut Networks,
) -> Work {
    let backbone = sources[0].backbone.build();
    let Ok(sets) = unit_sets(backbone.symmetries()) else { return Work::default() };
    let count = sources.len() as u64;
    let groups = within_budget(&sets, |set| bytes(set, sources.len()));
    let network = networks.get(&sources[0].backbone, 0, dataset.size);
    let images = dataset.images(SplitName::Train).min(images as u64);
    let layers = linear_maps::layers(&*backbone, 0);
    let of_layer = network.forward() as f64 / layers.len() as f64;
    let ratio = |set: &UnitSet| {
        let elements = layers.iter().find(|layer| layer.name == set.layer);
        let elements = elements.map_or(set.size * set.size, |layer| layer.inputs * layer.outputs);
        (sources.len() * set.size).pow(2) as f64 / elements as f64
    };
    let moments = (of_layer * sets.iter().map(ratio).sum::<f64>()) as u64;
    let of_group = |group: &&[UnitSet]| sum(group.iter().map(|set| bytes(set, sources.len())));
    let largest = sets.iter().map(|set| bytes(set, sources.len())).max().unwrap_or(0);
    Work {
        operations: sum([
            product([network.forward(), images, count, groups.len() as u64]),
            product([moments, images]),
        ]),
        memory_bytes: sum([
            groups.iter().map(of_group).max().unwrap_or(0),
            product([3, largest]),
            joint_bytes(&*backbone, sources.len(), dataset.size, images),
            rows_bytes(&*backbone, sources.len(), dataset.size, images),
        ]),
        ..Work::default()
    }
}

/// Bytes of the rows of a batch in [`second_moments`]: in double precision, and once more as the product packs them.
fn rows_bytes(backbone: &dyn Backbone, sources: usize, image_size: usize, images: u64) -> u64 {
    let batch = joint_batch(backbone, sources, image_size) as u64;
    product([2 * F64, sources as u64, batch.min(images), backbone.cost(image_size).largest])
}

/// Bytes of the inputs of all layers of so many sources, held at once.
pub(crate) fn joint_bytes(backbone: &dyn Backbone, sources: usize, image_size: usize, images: u64) -> u64 {
    let batch = joint_batch(backbone, sources, image_size) as u64;
    product([4, sources as u64, batch.min(images), backbone.cost(image_size).activations])
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn rows(elements: &[[f32; 2]]) -> Tensor {
        Tensor::from_iter(elements.iter().flatten().copied(), &Device::Cpu)
            .and_then(|tensor| tensor.reshape((elements.len(), 2)))
            .unwrap()
    }

    /// By hand: the second source's first unit is −2 times the first's, plus 1.
    #[test]
    fn correlations_are_those_by_hand() {
        let a = rows(&[[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]);
        let b = rows(&[[-1.0, 0.0], [-3.0, 0.0], [-5.0, 0.0]]);
        let found = Moments::of(&[a, b]).unwrap().correlations();
        let expected = [1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0, -1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12);
        assert!(near, "{found:?}");
    }

    #[test]
    fn inner_products_are_of_the_first_source_and_another() {
        let (a, b) = (rows(&[[1.0, 2.0], [3.0, 4.0]]), rows(&[[5.0, 6.0], [7.0, 8.0]]));
        let moments = Moments::of(&[a.clone(), b.clone(), a]).unwrap();
        assert_eq!(moments.inner_products(1), [26.0, 30.0, 38.0, 44.0]);
        assert_eq!(moments.inner_products(2), [10.0, 14.0, 14.0, 20.0]);
    }

    #[test]
    fn activations_that_are_not_finite_are_refused() {
        assert!(Moments::of(&[rows(&[[f32::INFINITY, 0.0]])]).is_err());
    }

    #[test]
    fn every_unit_of_a_convolutional_network_is_in_the_input_of_a_layer() {
        for text in ["resnet18 = { width = 8 }", "resnet50 = { width = 8 }", "densenet121 = { growth = 4 }"] {
            let backbone = crate::git_rebasin::testing::backbone(text).build();
            let sets = unit_sets(backbone.symmetries()).unwrap();
            let layers = linear_maps::layers(&*backbone, 0);
            for set in &sets {
                assert!(
                    set.layer == POOL || layers.iter().any(|layer| layer.name == set.layer),
                    "{}",
                    set.layer
                );
            }
            assert!(sets.iter().any(|set| set.layer == POOL));
        }
    }

    #[test]
    fn attention_heads_are_refused() {
        let backbone = crate::git_rebasin::testing::backbone("vit_tiny = { image_size = 32 }").build();
        let problem = unit_sets(backbone.symmetries()).err().unwrap();
        assert!(problem.starts_with("the channels of attention heads"), "{problem}");
    }
}
