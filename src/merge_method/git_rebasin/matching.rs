//! Weight matching (arXiv 2209.04836, section 3.2 and algorithm 1): the order of one network's units that maximizes the
//! inner product of its tensors with another network's.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use candle_core::{DType, Device, Result, Tensor, bail};
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::assignment::assign;
use super::permutations::Permutations;
use crate::NamedTensors;
use backbone::symmetry::{Place, Role, Symmetry, Units};
use nn::StateDict;
use nn::cost::{product, sum};
use nn::init::Parameter;
use rng::{Purpose, rng};

/// Gains below this fraction of the sum's magnitude are treated as rounding errors.
const TOLERANCE: f64 = 1e-10;

/// The permutations of `other` that bring it as close as possible to `reference`.
///
/// Symmetry by symmetry, in a random order drawn from `seed` for each round, the best assignment of units is
/// computed with all other symmetries fixed, until nothing changes. The assignment is optimal over groups and the units
/// in them: groups are assigned by the best score of their units.
///
/// Running statistics are permuted but do not enter the score, because their scale is unrelated to that of weights. The
/// classifier enters the score if both models have one for the same number of classes.
///
/// The paper starts with the identity. In a transformer that ends far from the optimum: the first symmetries are
/// matched by weights whose other axis is still permuted, so at random, and the token channels are then matched to
/// that. Here each symmetry is also matched once beforehand by weights that are already in order: the first by the
/// weights of pixels, the next by the weights of matched units. The closer of the two starts is taken.
///
/// # Errors
/// A tensor is missing, has another shape, cannot be read, or contains values that are not finite.
pub fn align(
    reference: &dyn NamedTensors,
    other: &dyn NamedTensors,
    symmetries: &[Symmetry],
    seed: u64,
) -> Result<Permutations> {
    let mut matching = Matching::new(reference, other, symmetries)?;
    matching.start()?;
    let mut order: Vec<usize> = (0..symmetries.len()).collect();
    for round in 0.. {
        order.shuffle(&mut rng(seed, Purpose::Rebasin, round, 0));
        let mut changed = false;
        for &symmetry in &order {
            changed |= matching.improve(symmetry)?;
        }
        if !changed {
            break;
        }
    }
    Ok(matching.permutations)
}

/// Multiply-adds of one round of [`align`] for a network with these parameters.
pub fn operations(symmetries: &[Symmetry], parameters: &[Parameter]) -> u64 {
    let shapes: HashMap<&str, &[usize]> =
        parameters.iter().map(|parameter| (parameter.name.as_str(), parameter.shape.as_slice())).collect();
    let of_place = |place: &Place, units: usize| {
        let shape = shapes.get(place.tensor.as_str()).filter(|_| place.role != Role::Statistic);
        let others = |shape: &&[usize]| {
            let lengths = shape.iter().enumerate().filter(|(axis, _)| *axis != place.axis);
            product(lengths.map(|(_, &length)| length as u64))
        };
        product([units as u64, units as u64, shape.map_or(0, others)])
    };
    let places = symmetries.iter().flat_map(|symmetry| {
        let sets = symmetry.sets.iter().map(move |set| (set, symmetry.groups * set.size));
        sets.flat_map(|(set, units)| set.places.iter().map(move |place| (place, units)))
    });
    sum(places.map(|(place, units)| of_place(place, units)))
}

/// Two networks, one of them permuted by the permutations found so far.
struct Matching<'a> {
    symmetries: &'a [Symmetry],
    /// The trainable tensors of both networks, unpermuted, on the CPU.
    reference: StateDict,
    permuted: StateDict,
    permutations: Permutations,
    /// The symmetries that permute each of these tensors.
    of_tensor: BTreeMap<&'a str, BTreeSet<usize>>,
    /// Symmetries that were matched and whose inputs have not changed since.
    settled: Vec<bool>,
}

impl<'a> Matching<'a> {
    fn new(
        reference: &dyn NamedTensors,
        other: &dyn NamedTensors,
        symmetries: &'a [Symmetry],
    ) -> Result<Self> {
        let mut matching = Self {
            symmetries,
            reference: StateDict::new(),
            permuted: StateDict::new(),
            permutations: Permutations::default(),
            of_tensor: BTreeMap::new(),
            settled: vec![false; symmetries.len()],
        };
        for (i, Symmetry { groups, sets }) in symmetries.iter().enumerate() {
            for (place, units) in sets.iter().flat_map(|set| set.places.iter().map(move |p| (p, set.size))) {
                if place.role == Role::Statistic {
                    continue;
                }
                if !matching.reference.contains_key(&place.tensor) {
                    matching.take(place, reference, other)?;
                }
                matching.check(place, groups * units)?;
                matching.of_tensor.entry(&place.tensor).or_default().insert(i);
            }
        }
        Ok(matching)
    }

    /// Read a tensor of both networks. A classifier that one network lacks, or has for other classes, is left out.
    fn take(&mut self, place: &Place, reference: &dyn NamedTensors, other: &dyn NamedTensors) -> Result<()> {
        let name = &place.tensor;
        let (a, b) = match (reference.tensor(name)?, other.tensor(name)?) {
            (Some(a), Some(b)) if a.dims() == b.dims() => (a, b),
            _ if place.role == Role::Head => return Ok(()),
            (Some(a), Some(b)) => {
                bail!("`{name}` has shape {:?} in one model and {:?} in another", a.dims(), b.dims())
            }
            _ => bail!("a model has no tensor `{name}`, which is needed to match its units"),
        };
        for (tensors, tensor) in [(&mut self.reference, a), (&mut self.permuted, b)] {
            tensors.insert(name.clone(), tensor.to_device(&Device::Cpu)?);
        }
        Ok(())
    }

    /// Check that a tensor has `units` units at a place.
    fn check(&self, place: &Place, units: usize) -> Result<()> {
        let Some(tensor) = self.reference.get(&place.tensor) else { return Ok(()) };
        match tensor.dims().get(place.axis) {
            Some(&length) if length >= place.start + units => Ok(()),
            _ => bail!(
                "`{}` has shape {:?}, too small for {units} units from index {} of dimension {}; are the \
                 tensors from another backbone?",
                place.tensor,
                tensor.dims(),
                place.start,
                place.axis
            ),
        }
    }

    /// ⟨reference, permuted⟩ over all tensors: the objective to maximize.
    fn objective(&self) -> Result<f64> {
        let mut sum = 0.0;
        for (name, a) in &self.reference {
            let products = (a.to_dtype(DType::F64)? * self.permuted[name].to_dtype(DType::F64)?)?;
            sum += products.sum_all()?.to_scalar::<f64>()?;
        }
        Ok(sum)
    }

    /// Match each symmetry once by weights that are already in order, unless the identity is closer.
    fn start(&mut self) -> Result<()> {
        let before = self.objective()?;
        let as_it_was = (self.permuted.clone(), self.permutations.clone());
        self.match_from_what_is_in_order()?;
        if self.objective()? < before {
            (self.permuted, self.permutations) = as_it_was;
        }
        Ok(())
    }

    /// Match each symmetry once by the weights whose other axis is not permuted (pixels, classes) or belongs to a
    /// matched symmetry. The next symmetry is always the one with the largest fraction of its weights in order.
    fn match_from_what_is_in_order(&mut self) -> Result<()> {
        let mut matched = vec![false; self.symmetries.len()];
        for _ in self.symmetries {
            let in_order = |i: usize, place: &Place| {
                self.of_tensor[place.tensor.as_str()].iter().all(|&other| other == i || matched[other])
            };
            let part = |i: usize| {
                let all = self.elements(i, |_| true);
                self.elements(i, |place| in_order(i, place)) as f64 / all.max(1) as f64
            };
            let left = (0..matched.len()).filter(|&i| !matched[i]).map(|i| (i, part(i)));
            let most = left.reduce(|best, next| if next.1 > best.1 { next } else { best });
            let Some((next, _)) = most else { break };
            let orders = self.better_orders(next, |place| in_order(next, place))?;
            matched[next] = true;
            self.reorder(next, orders)?;
        }
        Ok(())
    }

    /// Elements of each unit at those places of a symmetry that `counts` selects.
    fn elements(&self, symmetry: usize, counts: impl Fn(&Place) -> bool) -> usize {
        let of_place = |place: &Place| {
            let tensor = self.reference.get(&place.tensor).filter(|_| place.role != Role::Statistic);
            let of_unit = |tensor: &Tensor| tensor.elem_count() / tensor.dims()[place.axis].max(1);
            tensor.filter(|_| counts(place)).map_or(0, of_unit)
        };
        self.symmetries[symmetry].sets.iter().flat_map(|set| &set.places).map(of_place).sum()
    }

    /// Permute the units of a symmetry optimally, if that improves the objective.
    fn improve(&mut self, symmetry: usize) -> Result<bool> {
        if self.settled[symmetry] {
            return Ok(false);
        }
        let orders = self.better_orders(symmetry, |_| true)?;
        let changed = orders.is_some();
        self.reorder(symmetry, orders)?;
        self.settled[symmetry] = true;
        Ok(changed)
    }

    /// The best orders of a symmetry's units by the selected places; `None` if the current order is optimal.
    fn better_orders(
        &self,
        symmetry: usize,
        counts: impl Fn(&Place) -> bool,
    ) -> Result<Option<Vec<Vec<usize>>>> {
        let symmetry = &self.symmetries[symmetry];
        let scores = symmetry.sets.iter().map(|set| self.similarities(set, symmetry.groups, &counts));
        Ok(better_orders(symmetry, &scores.collect::<Result<Vec<_>>>()?))
    }

    /// Apply orders, if there are any, and mark the symmetries that depend on them as unsettled.
    fn reorder(&mut self, symmetry: usize, orders: Option<Vec<Vec<usize>>>) -> Result<()> {
        for (set, order) in self.symmetries[symmetry].sets.iter().zip(orders.iter().flatten()) {
            for place in &set.places {
                self.permutations.reorder(place, order);
                let Some(tensor) = self.permuted.get_mut(&place.tensor) else { continue };
                let mut step = Permutations::default();
                step.reorder(place, order);
                *tensor = step.apply(&place.tensor, tensor)?;
                self.of_tensor[place.tensor.as_str()].iter().for_each(|&other| self.settled[other] = false);
            }
        }
        Ok(())
    }

    /// ⟨unit of the reference, unit of the other⟩ for each pair of units of all groups, summed over the selected
    /// places; square, row-major.
    fn similarities(&self, set: &Units, groups: usize, counts: impl Fn(&Place) -> bool) -> Result<Vec<f64>> {
        let units = groups * set.size;
        let mut sum = Tensor::zeros((units, units), DType::F64, &Device::Cpu)?;
        let learned = set.places.iter().filter(|place| place.role != Role::Statistic);
        for place in learned.filter(|place| self.reference.contains_key(&place.tensor) && counts(place)) {
            let [a, b] = [&self.reference, &self.permuted].map(|tensors| rows(tensors, place, units));
            sum = (sum + a?.matmul(&b?.t()?)?)?;
        }
        let scores = sum.flatten_all()?.to_vec1::<f64>()?;
        if scores.iter().any(|score| !score.is_finite()) {
            let names: Vec<_> = set.places.iter().map(|place| format!("`{}`", place.tensor)).collect();
            bail!(
                "units cannot be matched, because one of {} contains values that are not finite",
                names.join(", ")
            );
        }
        Ok(scores)
    }
}

/// The units at a place as rows, in f64.
fn rows(tensors: &StateDict, place: &Place, units: usize) -> Result<Tensor> {
    let tensor = tensors[&place.tensor].narrow(place.axis, place.start, units)?;
    tensor.transpose(0, place.axis)?.to_dtype(DType::F64)?.reshape((units, ()))
}

/// For each set, the order of units that maximizes the sum of scores; `None` if it does not exceed the current sum.
fn better_orders(symmetry: &Symmetry, scores: &[Vec<f64>]) -> Option<Vec<Vec<usize>>> {
    let groups = symmetry.groups;
    let pairs: Vec<Pair> = (0..groups * groups)
        .into_par_iter()
        .map(|pair| Pair::new(symmetry, scores, (pair / groups, pair % groups)))
        .collect();
    let of_pairs: Vec<f64> = pairs.iter().map(|pair| pair.score).collect();
    let partners = assign(&of_pairs, groups);
    let chosen = || partners.iter().enumerate().map(|(group, &partner)| &pairs[group * groups + partner]);
    let best: f64 = chosen().map(|pair| pair.score).sum();
    let (now, magnitude) = as_they_are(symmetry, scores);
    let added = magnitude + chosen().map(|pair| pair.magnitude).sum::<f64>();
    (best - now > TOLERANCE * added).then(|| {
        (0..scores.len()).map(|set| chosen().flat_map(|pair| pair.orders[set].clone()).collect()).collect()
    })
}

/// A group of the reference and one of the other network, with the best assignment of their units.
struct Pair {
    /// For each set, the units of the other network's group in the order of the reference's.
    orders: Vec<Vec<usize>>,
    score: f64,
    magnitude: f64,
}

impl Pair {
    fn new(symmetry: &Symmetry, scores: &[Vec<f64>], (group, partner): (usize, usize)) -> Self {
        let mut pair = Self { orders: Vec::new(), score: 0.0, magnitude: 0.0 };
        for (set, scores) in symmetry.sets.iter().zip(scores) {
            let (size, units) = (set.size, symmetry.groups * set.size);
            let row = |i: usize| &scores[(group * size + i) * units + partner * size..][..size];
            let square: Vec<f64> = (0..size).flat_map(|i| row(i).iter().copied()).collect();
            let order = assign(&square, size);
            for (i, j) in order.iter().enumerate() {
                pair.score += square[i * size + j];
                pair.magnitude += square[i * size + j].abs();
            }
            pair.orders.push(order.into_iter().map(|j| partner * size + j).collect());
        }
        pair
    }
}

/// The sum of the scores in the current order, and the sum of their magnitudes.
fn as_they_are(symmetry: &Symmetry, scores: &[Vec<f64>]) -> (f64, f64) {
    let diagonals = symmetry.sets.iter().zip(scores).flat_map(|(set, scores)| {
        let units = symmetry.groups * set.size;
        (0..units).map(move |i| scores[i * units + i])
    });
    diagonals.fold((0.0, 0.0), |(sum, magnitude), score| (sum + score, magnitude + score.abs()))
}

#[cfg(test)]
mod tests;
