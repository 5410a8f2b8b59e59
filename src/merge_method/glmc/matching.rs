//! Weight matching: the maps of one network's stream, heads and hidden units that bring it as close as possible to
//! another network, in canonical form.

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

use super::network::{Block, Head, Network};
use super::units::procrustes;
use crate::git_rebasin::assignment::assign;

/// Rounds stop when the inner product grows by less than this fraction of the networks' norms.
const TOLERANCE: f64 = 1e-4;
/// The largest number of rounds.
pub(super) const ROUNDS: u64 = 30;

/// `other`, mapped to be as close as possible to `reference`.
///
/// Each round computes the best map of the stream with all else fixed, then the best maps of all units: each step
/// maximizes the inner product of the two networks over its maps, so that it never falls. There are two starts: the
/// stream as it is, and the stream matched by what does not depend on the order of units (embeddings, biases, the
/// classifier). The closer one after matching units is taken.
///
/// # Errors
/// The networks differ in shape, or products of their weights are not finite.
pub(super) fn align(reference: &Network, other: &Network) -> Result<Network> {
    let scale = reference.inner_product(reference)?.sqrt() * other.inner_product(other)?.sqrt();
    let as_it_is = match_units(reference, other)?;
    let by_fixed = other.rotated(&stream_map(&fixed_products(reference, other)?)?)?;
    let by_fixed = match_units(reference, &by_fixed)?;
    let products_of = [reference.inner_product(&as_it_is)?, reference.inner_product(&by_fixed)?];
    let (mut product, mut aligned) = match products_of {
        [first, second] if second > first => (second, by_fixed),
        [first, _] => (first, as_it_is),
    };
    for _ in 0..ROUNDS {
        let rotated = aligned.rotated(&stream_map(&products(reference, &aligned)?)?)?;
        aligned = match_units(reference, &rotated)?;
        let before = std::mem::replace(&mut product, reference.inner_product(&aligned)?);
        if product - before <= TOLERANCE * scale {
            break;
        }
    }
    Ok(aligned)
}

/// The orthogonal Q with Q 1 = 1 that maximizes ⟨Q, M⟩, given the products M of two networks' stream channels, which
/// are zero along 1.
///
/// The vector 1 is made a singular vector of its own, so that Q maps it to itself and its complement to its complement,
/// also where M has lower rank.
pub(super) fn stream_map(products: &Tensor) -> Result<Tensor> {
    let channels = products.dim(0)?;
    let size = products.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
    let along_ones = if size > 0.0 { size / channels as f64 } else { 1.0 / channels as f64 };
    Ok(procrustes(&products.affine(1.0, along_ones)?)?.0)
}

/// Σ Xᵀ Y `[channels, channels]` over the tensors X of the reference and Y of the other network that only the stream's
/// map acts on.
fn fixed_products(reference: &Network, other: &Network) -> Result<Tensor> {
    sum_of_products(reference.channels, reference.fixed.values().zip(other.fixed.values()))
}

/// [`fixed_products`] over all tensors.
fn products(reference: &Network, other: &Network) -> Result<Tensor> {
    let units = reference.units().zip(other.units());
    let of_units = units.flat_map(|(x, y)| x.sides.iter().zip(&y.sides));
    sum_of_products(reference.channels, reference.fixed.values().zip(other.fixed.values()).chain(of_units))
}

fn sum_of_products<'a>(
    channels: usize,
    mut pairs: impl Iterator<Item = (&'a Tensor, &'a Tensor)>,
) -> Result<Tensor> {
    let zeros = Tensor::zeros((channels, channels), DType::F64, &Device::Cpu)?;
    pairs.try_fold(zeros, |sum, (x, y)| sum + x.t()?.matmul(y)?)
}

/// The other network with the best maps of its heads and hidden units.
fn match_units(reference: &Network, other: &Network) -> Result<Network> {
    let pairs: Vec<(&Block, &Block)> = reference.blocks.iter().zip(&other.blocks).collect();
    let blocks = pairs.into_par_iter().map(|(reference, other)| {
        let products = reference.hidden.products(&other.hidden)?;
        let order = assign(&products.flatten_all()?.to_vec1::<f64>()?, products.dim(0)?);
        let hidden = other.hidden.ordered(&order)?;
        Ok(Block { heads: match_heads(&reference.heads, &other.heads)?, hidden })
    });
    Ok(Network { blocks: blocks.collect::<Result<_>>()?, ..other.clone() })
}

/// The other heads in the best order, each with the best orthogonal maps of its queries and keys and of its values.
fn match_heads(reference: &[Head], other: &[Head]) -> Result<Vec<Head>> {
    let heads = reference.len();
    let pairs = (0..heads * heads).into_par_iter().map(|pair| {
        let (reference, other) = (&reference[pair / heads], &other[pair % heads]);
        let qk = procrustes(&reference.qk.products(&other.qk)?)?;
        let ov = procrustes(&reference.ov.products(&other.ov)?)?;
        Ok((qk, ov))
    });
    let pairs: Vec<_> = pairs.collect::<Result<_>>()?;
    let scores: Vec<f64> = pairs.iter().map(|((_, qk), (_, ov))| qk + ov).collect();
    let matched = assign(&scores, heads).into_iter().enumerate().map(|(head, partner)| {
        let ((qk, _), (ov, _)) = &pairs[head * heads + partner];
        let other = &other[partner];
        Ok(Head { qk: other.qk.mapped(qk)?, ov: other.ov.mapped(ov)? })
    });
    matched.collect()
}
