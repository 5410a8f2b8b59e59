//! Spherical linear interpolation (SLERP) of two sources, tensor by tensor: along the arc between their directions.
//!
//! With the angle θ between the flattened tensors: sin((1 − t)θ)/sin θ · S_0 + sin(tθ)/sin θ · S_1 (Shoemake 1985). As
//! in mergekit, nearly parallel or opposed vectors, |cos θ| > 0.9995, are interpolated linearly. So are pairs with a
//! zero vector, which has no direction; mergekit assumes a right angle there.

use std::ops::RangeInclusive;

use candle_core::{Result, Tensor, bail};
use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::combination::{combination, dot, elements};
use super::{MergeMethod, MergeTensors};

/// Above this |cos θ|, interpolation is linear.
const PARALLEL: f64 = 0.9995;

/// Interpolation of two sources along the arc between them (SLERP, Shoemake 1985).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SlerpSpec {
    /// Interpolation ratio, from 0 (the first source) to 1 (the second).
    pub t: f64,
}

impl Default for SlerpSpec {
    fn default() -> Self {
        Self { t: 0.5 }
    }
}

impl Identity for SlerpSpec {}

impl Kind for SlerpSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.fraction("t", self.t);
    }
}

impl MergeMethod for SlerpSpec {
    fn takes(&self) -> RangeInclusive<usize> {
        2..=2
    }

    fn formula(&self, _: usize) -> Option<Box<dyn MergeTensors>> {
        Some(Box::new(self.build()))
    }
}

impl SlerpSpec {
    /// The formula of this spec.
    pub fn build(&self) -> Slerp {
        Slerp { t: self.t }
    }
}

/// The interpolation of two sources.
#[derive(Clone, Debug, PartialEq)]
pub struct Slerp {
    t: f64,
}

impl MergeTensors for Slerp {
    fn merge(&self, _: &str, sources: &[Tensor], _: Option<&Tensor>) -> Result<Tensor> {
        let [first, second] = sources else { bail!("slerp takes two sources, not {}", sources.len()) };
        let (a, b) = (elements(first)?, elements(second)?);
        let norms = (dot(&a, &a) * dot(&b, &b)).sqrt();
        let [of_first, of_second] = shares(self.t, dot(&a, &b) / norms);
        combination([(first, of_first), (second, of_second)])
    }
}

/// The factors of both vectors; `cosine` is NaN for a zero vector.
fn shares(t: f64, cosine: f64) -> [f64; 2] {
    if cosine.is_nan() || cosine.abs() > PARALLEL {
        return [1.0 - t, t];
    }
    let angle = cosine.acos();
    [1.0 - t, t].map(|share| (share * angle).sin() / angle.sin())
}

#[cfg(test)]
mod tests {
    use super::*;

    use candle_core::Device;

    fn merged(a: [f32; 2], b: [f32; 2], t: f64) -> Vec<f32> {
        let sources = [a, b].map(|values| Tensor::new(&values, &Device::Cpu).unwrap());
        SlerpSpec { t }.build().merge("a.weight", &sources, None).unwrap().to_vec1().unwrap()
    }

    #[test]
    fn half_way_of_a_right_angle_keeps_the_length() {
        let half = std::f32::consts::FRAC_1_SQRT_2;
        assert_eq!(merged([1.0, 0.0], [0.0, 1.0], 0.5), [half, half]);
        assert_eq!(merged([1.0, 0.0], [0.0, 1.0], 0.0), [1.0, 0.0]);
    }

    #[test]
    fn parallel_opposed_and_zero_vectors_take_the_straight_line() {
        assert_eq!(merged([1.0, 0.0], [3.0, 0.0], 0.5), [2.0, 0.0]);
        assert_eq!(merged([1.0, 0.0], [-3.0, 0.0], 0.5), [-1.0, 0.0]);
        assert_eq!(merged([0.0, 0.0], [3.0, 1.0], 0.5), [1.5, 0.5]);
        assert_eq!(merged([0.0, 0.0], [0.0, 0.0], 0.5), [0.0, 0.0]);
    }

    #[test]
    fn it_is_between_two_sources() {
        let source = Tensor::new(&[1f32], &Device::Cpu).unwrap();
        assert!(SlerpSpec::default().build().merge("a", &[source], None).is_err());
    }
}
