//! Cost of a network, counted layer by layer.

use std::iter::Sum;
use std::ops::Add;

/// Cost of a forward pass for one image. Counts saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Number of multiply-adds, half the number of floating-point operations. Convolutions are counted by definition,
    /// though Winograd's algorithm needs fewer.
    pub multiply_adds: u64,
    /// Number of activations kept for the backward pass: the outputs of all layers.
    pub activations: u64,
    /// Number of elements of the largest activation; inference holds a few of this size at once.
    pub largest: u64,
}

impl Cost {
    /// Cost of a layer with this output shape; each element is a sum of ∏ `products` products.
    pub fn from_products(result: &[usize], products: &[usize]) -> Self {
        let elements = product(result.iter().map(|&length| length as u64));
        let products = product(products.iter().map(|&factor| factor as u64));
        Self { multiply_adds: elements.saturating_mul(products), activations: elements, largest: elements }
    }

    /// Cost of a layer with few multiplications: a norm, a pool, an activation function.
    pub fn elementwise(result: &[usize]) -> Self {
        Self::from_products(result, &[0])
    }
}

impl Add for Cost {
    type Output = Self;

    /// Cost of two layers in sequence.
    fn add(self, other: Self) -> Self {
        Self {
            multiply_adds: self.multiply_adds.saturating_add(other.multiply_adds),
            activations: self.activations.saturating_add(other.activations),
            largest: self.largest.max(other.largest),
        }
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), Self::add)
    }
}

/// Saturating product of counts.
pub fn product(factors: impl IntoIterator<Item = u64>) -> u64 {
    factors.into_iter().fold(1, u64::saturating_mul)
}

/// Saturating sum of counts.
pub fn sum(terms: impl IntoIterator<Item = u64>) -> u64 {
    terms.into_iter().fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_saturate() {
        assert_eq!(Cost::from_products(&[usize::MAX, 2], &[3]).multiply_adds, u64::MAX);
        assert_eq!(sum([u64::MAX, 1]), u64::MAX);
        assert_eq!(product([u64::MAX, 2, 0]), 0, "a zero factor wins over saturation");
    }

    #[test]
    fn the_largest_activation_of_two_layers_is_their_maximum() {
        let both = Cost::from_products(&[2, 3], &[4]) + Cost::elementwise(&[5]);
        assert_eq!(both, Cost { multiply_adds: 24, activations: 11, largest: 6 });
    }
}
