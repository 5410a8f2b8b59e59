//! What a network costs, counted from its layers.

use std::iter::Sum;
use std::ops::Add;

/// What one image costs in a forward pass. Counts stop at the largest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Products that are added up, half of the floating-point operations; those of a convolution's definition, though
    /// Winograd's algorithm does with fewer.
    pub multiply_adds: u64,
    /// Numbers kept for the way back: the results of all layers.
    pub activations: u64,
    /// Numbers of the largest result: a pass without a way back holds a few of these at once.
    pub largest: u64,
}

impl Cost {
    /// Of a layer with a result of this shape, each number of which adds up `products` (their factors) of two numbers.
    pub fn of(result: &[usize], products: &[usize]) -> Self {
        let numbers = product(result.iter().map(|&length| length as u64));
        let products = product(products.iter().map(|&factor| factor as u64));
        Self { multiply_adds: numbers.saturating_mul(products), activations: numbers, largest: numbers }
    }

    /// Of a layer that multiplies little: a norm, a pool, an activation function.
    pub fn kept(result: &[usize]) -> Self {
        Self::of(result, &[0])
    }
}

impl Add for Cost {
    type Output = Self;

    /// Of one after the other.
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

/// The product of counts, or the largest number.
pub fn product(factors: impl IntoIterator<Item = u64>) -> u64 {
    factors.into_iter().fold(1, u64::saturating_mul)
}

/// The sum of counts, or the largest number.
pub fn sum(terms: impl IntoIterator<Item = u64>) -> u64 {
    terms.into_iter().fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_counted_stops_at_the_largest_number() {
        assert_eq!(Cost::of(&[usize::MAX, 2], &[3]).multiply_adds, u64::MAX);
        assert_eq!(sum([u64::MAX, 1]), u64::MAX);
        assert_eq!(product([u64::MAX, 2, 0]), 0, "nothing, however large the rest");
    }

    #[test]
    fn of_two_layers_the_larger_result_counts_for_what_is_held_at_once() {
        let both = Cost::of(&[2, 3], &[4]) + Cost::kept(&[5]);
        assert_eq!(both, Cost { multiply_adds: 24, activations: 11, largest: 6 });
    }
}
