//! Maps that change no output, copies that they disguise, and a merge by NumPy and SciPy
//! (`tests/reference/glmc.safetensors`).

use std::collections::HashMap;

use candle_core::{DType, Device};
use rand::Rng;
use rand::seq::SliceRandom;
use rng::{Purpose, rng};

use super::network::{Block, Head};
use super::units::{Units, procrustes};
use super::*;
use crate::git_rebasin::testing::{backbone, difference, logits, model};
use crate::measured_tests::{assert_close, part, reference_path};
use crate::merge_in_memory;

const VIT: &str = "vit_tiny = { image_size = 32, patch_size = 16 }";
const SIDE: usize = 32;

fn of_vit() -> (BackboneSpec, ResidualStream) {
    let spec = backbone(VIT);
    let stream = stream(&spec).unwrap();
    (spec, stream)
}

/// Random matrices and orders.
struct Draws {
    seed: u64,
    drawn: u64,
}

impl Draws {
    fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    fn rng(&mut self) -> impl Rng + use<> {
        self.drawn += 1;
        rng(self.seed, Purpose::Shuffle, 0, self.drawn)
    }

    fn uniform(&mut self, shape: (usize, usize), low: f64, high: f64) -> Tensor {
        let mut rng = self.rng();
        let elements: Vec<f64> = (0..shape.0 * shape.1).map(|_| rng.random_range(low..high)).collect();
        Tensor::from_vec(elements, shape, &Device::Cpu).unwrap()
    }

    fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        order.shuffle(&mut self.rng());
        order
    }

    /// An orthogonal matrix.
    fn orthogonal(&mut self, n: usize) -> Tensor {
        procrustes(&self.uniform((n, n), -1.0, 1.0)).unwrap().0
    }

    /// An orthogonal matrix Q with Q 1 = 1.
    fn stream_map(&mut self, channels: usize) -> Tensor {
        let products = self.uniform((channels, channels), -1.0, 1.0);
        let centered = products.broadcast_sub(&products.mean_keepdim(1).unwrap()).unwrap();
        matching::stream_map(&centered.broadcast_sub(&centered.mean_keepdim(0).unwrap()).unwrap()).unwrap()
    }

    /// The units in the bases G and G⁻ᵀ, for a G that is far from orthogonal.
    fn in_another_basis(&mut self, units: &Units) -> Units {
        let n = units.bias.dim(0).unwrap();
        let (left, right) = (self.orthogonal(n), self.orthogonal(n));
        let scales = self.uniform((n, 1), 0.3, 3.0);
        let map = |scales: &Tensor| left.matmul(&right.broadcast_mul(scales).unwrap()).unwrap();
        let (g, inverse) = (map(&scales), map(&scales.recip().unwrap()));
        let sides = [g.matmul(&units.sides[0]).unwrap(), inverse.matmul(&units.sides[1]).unwrap()];
        Units { sides, bias: g.matmul(&units.bias).unwrap() }
    }

    /// Another network with the same function, in canonical form but for the bases of heads.
    fn mapped(&mut self, network: &Network) -> Network {
        let mut network = network.rotated(&self.stream_map(network.channels)).unwrap();
        for Block { heads, hidden } in &mut network.blocks {
            *hidden = hidden.ordered(&self.order(hidden.bias.dim(0).unwrap())).unwrap();
            heads.shuffle(&mut self.rng());
            for Head { qk, ov } in heads {
                (*qk, *ov) = (self.in_another_basis(qk), self.in_another_basis(ov));
            }
        }
        network
    }

    /// The same function, with norms that have gains and shifts, a stream that is not centered, and biases of keys and
    /// values.
    fn disguised(&mut self, tensors: &StateDict, stream: &ResidualStream) -> StateDict {
        let mut all = Disguise(
            tensors.iter().map(|(name, t)| (name.clone(), t.to_dtype(DType::F64).unwrap())).collect(),
        );
        let add_to_rows = |tensor: &Tensor, draws: &mut Self| {
            let (channels, rest) = tensor.flatten_from(1).unwrap().dims2().unwrap();
            let shift = draws.uniform((1, rest), -0.1, 0.1).broadcast_as((channels, rest)).unwrap();
            (tensor + shift.reshape(tensor.shape()).unwrap()).unwrap()
        };
        all.change(&format!("{}.weight", stream.patches), |t| add_to_rows(t, self));
        all.change(&stream.tokens[1], |t| (t + 0.3).unwrap());
        for block in &stream.blocks {
            for writer in [&block.projection, &block.fc2] {
                all.change(&format!("{writer}.weight"), |t| add_to_rows(t, self));
                all.change(&format!("{writer}.bias"), |t| (t - 0.2).unwrap());
            }
            all.affine(&block.norm1, &block.qkv, self);
            all.affine(&block.norm2, &block.fc1, self);
            let width = all.0[&format!("{}.bias", block.projection)].dim(0).unwrap();
            let [keys, values] = [0; 2].map(|_| self.uniform((width, 1), -0.5, 0.5));
            let zeros = keys.zeros_like().unwrap();
            let added = Tensor::cat(&[&zeros, &keys, &values], 0).unwrap().squeeze(1).unwrap();
            all.change(&format!("{}.bias", block.qkv), |t| (t + &added).unwrap());
            let of_values = all.0[&format!("{}.weight", block.projection)].matmul(&values).unwrap();
            all.change(&format!("{}.bias", block.projection), |t| {
                (t - of_values.squeeze(1).unwrap()).unwrap()
            });
        }
        all.affine(&stream.norm, &stream.head, self);
        all.0.into_iter().map(|(name, t)| (name, t.to_dtype(DType::F32).unwrap())).collect()
    }
}

struct Disguise(StateDict);

impl Disguise {
    fn change(&mut self, name: &str, change: impl FnOnce(&Tensor) -> Tensor) {
        let changed = change(&self.0[name]);
        self.0.insert(name.to_owned(), changed);
    }

    /// Gives a norm a gain g and a shift b, and the layer W / g and c − W b / g.
    fn affine(&mut self, norm: &str, layer: &str, draws: &mut Draws) {
        let channels = self.0[&format!("{norm}.weight")].dim(0).unwrap();
        let (gain, shift) = (draws.uniform((1, channels), 0.6, 1.4), draws.uniform((channels, 1), -0.3, 0.3));
        self.change(&format!("{layer}.weight"), |t| t.broadcast_div(&gain).unwrap());
        let shifted = self.0[&format!("{layer}.weight")].matmul(&shift).unwrap().squeeze(1).unwrap();
        self.change(&format!("{layer}.bias"), |t| (t - shifted).unwrap());
        self.change(&format!("{norm}.weight"), |_| gain.squeeze(0).unwrap());
        self.change(&format!("{norm}.bias"), |_| shift.squeeze(1).unwrap());
    }
}

/// Off by how much, relative to the largest logit.
fn off(spec: &BackboneSpec, tensors: &StateDict, others: &StateDict) -> f32 {
    let before = logits(spec, tensors, SIDE);
    let largest: f32 = before.abs().unwrap().max_all().unwrap().to_scalar().unwrap();
    difference(&before, &logits(spec, others, SIDE)) / largest
}

fn copy_of(tensors: &StateDict, stream: &ResidualStream, seed: u64) -> StateDict {
    let mut draws = Draws::new(seed);
    let network = draws.mapped(&Network::read(tensors, stream, true).unwrap());
    draws.disguised(&network.weights(tensors, stream).unwrap(), stream)
}

fn merged(sources: &[&StateDict], weights: Option<Vec<f64>>, stream: &ResidualStream) -> StateDict {
    let named: Vec<&dyn NamedTensors> = sources.iter().map(|source| *source as &dyn NamedTensors).collect();
    let glmc = GlmcSpec { weights }.build(&named, stream, true).unwrap();
    merge_in_memory(&glmc, sources, None).unwrap()
}

#[test]
fn the_canonical_form_and_all_maps_of_it_compute_the_same() {
    let (spec, stream) = of_vit();
    let tensors = model(&spec, 1);
    let network = Network::read(&tensors, &stream, true).unwrap();
    let canonical = network.weights(&tensors, &stream).unwrap();
    assert_eq!(canonical.keys().collect::<Vec<_>>(), tensors.keys().collect::<Vec<_>>());
    assert!(off(&spec, &tensors, &canonical) < 1e-5);
    let mapped = Draws::new(2).mapped(&network).weights(&tensors, &stream).unwrap();
    assert!(off(&spec, &tensors, &mapped) < 1e-5);
    let copy = copy_of(&tensors, &stream, 3);
    assert!(off(&spec, &tensors, &copy) < 1e-5);
    let unchanged = tensors.iter().filter(|(name, tensor)| difference(tensor, &copy[*name]) == 0.0);
    assert_eq!(unchanged.map(|(name, _)| name.as_str()).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_network_merged_with_disguised_copies_of_itself_computes_the_same() {
    let (spec, stream) = of_vit();
    let tensors = model(&spec, 1);
    let copies = [copy_of(&tensors, &stream, 2), copy_of(&tensors, &stream, 3)];
    let found = merged(&[&tensors, &copies[0]], None, &stream);
    assert!(off(&spec, &tensors, &found) < 1e-4);
    let found = merged(&[&copies[1], &copies[0], &tensors], Some(vec![1.0, 2.0, 3.0]), &stream);
    assert!(off(&spec, &tensors, &found) < 1e-4);
    let average = AverageSpec::default().build(2);
    let average = merge_in_memory(&average, &[&tensors, &copies[0]], None).unwrap();
    assert!(off(&spec, &tensors, &average) > 0.1, "the copy is too similar to test anything");
}

#[test]
fn without_a_classifier_a_new_one_can_compute_the_same() {
    let (spec, stream) = of_vit();
    let tensors = model(&spec, 1);
    let (mut body, mut copy) = (tensors.clone(), copy_of(&tensors, &stream, 2));
    for source in [&mut body, &mut copy] {
        model::head::remove_head(source, &spec);
    }
    let sources: [&dyn NamedTensors; 2] = [&body, &copy];
    let glmc = GlmcSpec::default().over_files(&sources, Some(&spec)).unwrap();
    let mut found = merge_in_memory(&*glmc, &[&body, &copy], None).unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), body.keys().collect::<Vec<_>>());
    let canonical = Network::read(&tensors, &stream, true).unwrap().weights(&tensors, &stream).unwrap();
    found.extend(canonical.into_iter().filter(|(name, _)| name.starts_with("head.")));
    assert!(off(&spec, &tensors, &found) < 1e-4);
}

#[test]
fn stream_maps_are_orthogonal_and_fix_ones_whatever_the_rank() {
    let channels = 9;
    for rank in [0, 1, 5, 9] {
        let mut draws = Draws::new(rank as u64);
        let factors = [0; 2].map(|_| draws.uniform((channels, rank.max(1)), -1.0, 1.0));
        let [a, b] = factors.map(|factor| factor.broadcast_sub(&factor.mean_keepdim(0).unwrap()).unwrap());
        let products = (a.matmul(&b.t().unwrap()).unwrap() * f64::from(u8::from(rank > 0))).unwrap();
        let map = matching::stream_map(&products).unwrap();
        let largest = |tensor: Tensor| tensor.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
        let identity = Tensor::eye(channels, DType::F64, &Device::Cpu).unwrap();
        let orthogonal = largest((map.matmul(&map.t().unwrap()).unwrap() - identity).unwrap());
        assert!(orthogonal < 1e-12, "rank {rank}: off by {orthogonal}");
        let fixed = largest((map.sum_keepdim(1).unwrap() - 1.0).unwrap());
        assert!(fixed < 1e-12, "rank {rank}: off by {fixed}");
    }
}

#[test]
fn heads_of_zeros_stay_zeros() {
    let zeros = |columns: usize| Tensor::zeros((3, columns), DType::F64, &Device::Cpu).unwrap();
    let units = Units { sides: [zeros(5), zeros(5)], bias: zeros(1) };
    let balanced = units.balanced().unwrap();
    assert_eq!(balanced.sides[0].to_vec2::<f64>().unwrap(), vec![vec![0.0; 5]; 3]);
    assert_eq!(procrustes(&balanced.products(&units).unwrap()).unwrap().1, 0.0);
}

#[test]
fn weights_that_are_not_finite_and_other_backbones_are_refused() {
    let (spec, stream) = of_vit();
    let tensors = model(&spec, 1);
    let mut broken = tensors.clone();
    broken.insert("pos_embed".into(), (&tensors["pos_embed"] * f64::NAN).unwrap());
    let error = |sources: [&dyn NamedTensors; 2], spec: &BackboneSpec| {
        GlmcSpec::default().over_files(&sources, Some(spec)).err().unwrap().to_string()
    };
    assert!(error([&tensors, &broken], &spec).contains("`pos_embed` contains values that are not finite"));
    assert!(
        error([&tensors, &tensors], &backbone("resnet18 = {}")).contains("not resnet18; use `git_rebasin`")
    );
    let mut distilled = tensors.clone();
    distilled.insert("head_dist.weight".into(), tensors["head.weight"].clone());
    let glmc = GlmcSpec::default().build(&[&tensors, &tensors], &stream, true).unwrap();
    let error = merge_in_memory(&glmc, &[&distilled, &distilled], None).unwrap_err().to_string();
    assert!(error.contains("`head_dist.weight` is no tensor of the backbone"), "{error}");
}

/// The small networks of the reference.
fn small_stream() -> ResidualStream {
    let block = |i: usize| {
        let [norm1, qkv, projection, norm2, fc1, fc2] =
            ["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"]
                .map(|layer| format!("blocks.{i}.{layer}"));
        StreamBlock { heads: 2, hidden: 24, norm1, qkv, projection, norm2, fc1, fc2 }
    };
    ResidualStream {
        channels: 16,
        tokens: vec!["cls_token".into(), "pos_embed".into()],
        patches: "patch_embed.proj".into(),
        blocks: vec![block(0), block(1)],
        norm: "norm".into(),
        head: "head".into(),
    }
}

/// The merge in f64, with products of heads in place of their bases, as in the reference.
fn comparable(merged: &Network) -> StateDict {
    let mut all: StateDict = merged.fixed.clone();
    all.insert("head.bias".into(), merged.head_bias.clone().unwrap());
    for (i, Block { heads, hidden }) in merged.blocks.iter().enumerate() {
        let [reads, writes] = &hidden.sides;
        let hidden = Tensor::cat(&[reads, writes, &hidden.bias], 1).unwrap();
        all.insert(format!("blocks.{i}.hidden"), hidden);
        for (h, Head { qk, ov }) in heads.iter().enumerate() {
            // values have no bias in canonical form
            let queries = Tensor::cat(&[&qk.sides[0], &qk.bias], 1).unwrap();
            for (what, first, second) in [("qk", &queries, &qk.sides[1]), ("ov", &ov.sides[0], &ov.sides[1])]
            {
                all.insert(format!("blocks.{i}.{what}.{h}"), first.t().unwrap().matmul(second).unwrap());
            }
        }
    }
    all
}

#[test]
fn the_merge_agrees_with_numpy_and_scipy() {
    let all: HashMap<String, Tensor> =
        candle_core::safetensors::load(reference_path("glmc.safetensors"), &Device::Cpu).unwrap();
    let sources = [0, 1, 2].map(|i| part(&all, &format!("source.{i}")));
    let named: Vec<&dyn NamedTensors> = sources.iter().map(|source| source as &dyn NamedTensors).collect();
    let spec = GlmcSpec { weights: Some(vec![2.0, 1.0, 1.0]) };
    let found = comparable(&spec.merged(&named, &small_stream(), true).unwrap());
    let expected = part(&all, "merged");
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert_close("glmc", &found, &expected, 1e-8);
}
