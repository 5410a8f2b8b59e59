//! Models to align in tests.

use candle_core::{Device, Tensor};
use rand::Rng;
use rand::seq::SliceRandom;

use super::Permutations;
use backbone::BackboneSpec;
use backbone::symmetry::Symmetry;
use nn::init::initial_values;
use nn::{Mode, Net, StateDict, Value};
use rng::{Purpose, name_index, rng};

/// Classes of the models.
pub const CLASSES: usize = 4;

/// Parses a backbone as written in an experiment file.
pub fn backbone(text: &str) -> BackboneSpec {
    toml::from_str(text).unwrap()
}

/// A model with random norms and running statistics, as after training.
pub fn model(spec: &BackboneSpec, seed: u64) -> StateDict {
    let parameters = spec.build().all_parameters(Some(CLASSES));
    let mut tensors = initial_values(&parameters, seed, &Device::Cpu).unwrap();
    for (name, tensor) in tensors.iter_mut().filter(|(_, tensor)| tensor.rank() == 1) {
        let (low, high) = match name {
            name if name.ends_with("running_var") => (0.5, 2.0),
            name if name.ends_with("weight") => (0.6, 1.4),
            _ => (-0.3, 0.3),
        };
        let mut rng = rng(seed, Purpose::Init, 1, name_index(name));
        let values = (0..tensor.elem_count()).map(|_| rng.random_range(low..high)).collect::<Vec<f32>>();
        *tensor = Tensor::new(values, &Device::Cpu).unwrap();
    }
    tensors
}

/// A random order of the units of every symmetry.
pub fn shuffled(symmetries: &[Symmetry], seed: u64) -> Permutations {
    let mut permutations = Permutations::default();
    for (i, Symmetry { groups, sets }) in symmetries.iter().enumerate() {
        let mut rng = rng(seed, Purpose::Shuffle, 0, i as u64);
        let mut order_of = |n: usize| {
            let mut order: Vec<usize> = (0..n).collect();
            order.shuffle(&mut rng);
            order
        };
        let partners = order_of(*groups);
        for set in sets {
            let group = |partner: &usize| {
                let start = partner * set.size;
                order_of(set.size).into_iter().map(move |unit| start + unit)
            };
            let order: Vec<usize> = partners.iter().flat_map(group).collect();
            set.places.iter().for_each(|place| permutations.reorder(place, &order));
        }
    }
    permutations
}

/// Logits of three images with this side length.
pub fn logits(spec: &BackboneSpec, tensors: &StateDict, side: usize) -> Tensor {
    let value = |i: usize| ((0.05 * i as f64).sin() + 0.5 * (0.0137 * i as f64).cos()) as f32;
    let elements: Vec<f32> = (0..3 * side * side * 3).map(value).collect();
    let images = Tensor::from_vec(elements, (3, side, side, 3), &Device::Cpu).unwrap();
    let net = Net::new(tensors, Mode::Eval);
    spec.build().logits(&net, &Value::constant(images), CLASSES).unwrap().tensor().clone()
}

/// The largest difference between elements of two tensors.
pub fn difference(a: &Tensor, b: &Tensor) -> f32 {
    (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
}
