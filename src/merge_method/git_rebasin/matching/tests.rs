//! Permuting a network does not change its outputs, and matching aligns it back.

use super::*;
use crate::git_rebasin::GitRebasinSpec;
use crate::git_rebasin::testing::{backbone, difference, logits, model, shuffled};
use crate::merge_in_memory;
use backbone::BackboneSpec;

/// Small backbones of each kind, with the side length of their images.
const KINDS: [(&str, usize); 6] = [
    ("resnet18 = { stem = 'small', width = 16 }", 12),
    ("resnet18 = { width = 16 }", 32),
    ("resnet34 = { stem = 'small', width = 8 }", 12),
    ("resnet50 = { stem = 'small', width = 8 }", 12),
    ("densenet121 = { growth = 8 }", 32),
    ("vit_tiny = { image_size = 32, patch_size = 16 }", 32),
];

fn symmetries(spec: &BackboneSpec) -> Vec<Symmetry> {
    spec.build().symmetries()
}

#[test]
fn permuting_units_does_not_change_the_outputs() {
    for (text, side) in KINDS {
        let spec = backbone(text);
        let tensors = model(&spec, 1);
        let permuted = shuffled(&symmetries(&spec), 2).apply_to_all(&tensors).unwrap();
        let before = logits(&spec, &tensors, side);
        let off = difference(&before, &logits(&spec, &permuted, side));
        assert!(off < 1e-4, "{text}: {off}");
        let differs = tensors
            .iter()
            .filter(|(name, tensor)| tensor.dtype().is_float() && difference(tensor, &permuted[*name]) > 0.0);
        let all = tensors.values().filter(|tensor| tensor.dtype().is_float()).count();
        // All tensors but the head's bias.
        assert_eq!(differs.count(), all - 1, "{text}");
        let spread = difference(&before, &before.mean_all().unwrap().broadcast_as(before.shape()).unwrap());
        assert!(spread > 1e-2, "{text}: all logits are equal");
    }
}

#[test]
fn a_permuted_copy_is_aligned_back_whatever_the_seed() {
    for (seed, (text, side)) in KINDS.into_iter().enumerate() {
        let spec = backbone(text);
        let tensors = model(&spec, 1);
        let permuted = shuffled(&symmetries(&spec), 2).apply_to_all(&tensors).unwrap();
        let sources: [&dyn NamedTensors; 2] = [&tensors, &permuted];
        let method =
            GitRebasinSpec { seed: seed as u64, weights: None }.build(&sources, &symmetries(&spec)).unwrap();
        let merged = merge_in_memory(&method, &[&tensors, &permuted], None).unwrap();
        let off = difference(&logits(&spec, &tensors, side), &logits(&spec, &merged, side));
        assert!(off < 1e-4, "{text}: {off}");
    }
}

fn objective(matching: &Matching<'_>) -> f64 {
    matching.objective().unwrap()
}

/// The first layer alone would permute all others.
#[test]
fn networks_that_are_near_are_not_moved_apart() {
    let spec = backbone(KINDS[0].0);
    let symmetries = symmetries(&spec);
    let a = model(&spec, 1);
    let mut b = a.clone();
    let shuffled = a["conv1.weight"].flip(&[0]).unwrap();
    b.insert("conv1.weight".into(), shuffled);
    let mut matching = Matching::new(&a, &b, &symmetries).unwrap();
    let before = objective(&matching);
    matching.match_from_what_is_in_order().unwrap();
    assert!(objective(&matching) < before, "the test needs a start that is not optimal");
    let back = align(&a, &b, &symmetries, 0).unwrap().apply_to_all(&b).unwrap();
    assert_eq!(difference(&back["layer1.0.conv1.weight"], &a["layer1.0.conv1.weight"]), 0.0);
}

#[test]
fn each_step_brings_two_networks_nearer() {
    for text in [KINDS[2].0, KINDS[4].0] {
        let spec = backbone(text);
        let (a, b) = (model(&spec, 1), model(&spec, 2));
        let symmetries = symmetries(&spec);
        let mut matching = Matching::new(&a, &b, &symmetries).unwrap();
        let start = objective(&matching);
        let mut before = start;
        for symmetry in 0..symmetries.len() {
            let changed = matching.improve(symmetry).unwrap();
            let after = objective(&matching);
            assert!(if changed { after > before } else { after == before }, "{before} then {after}");
            matching.settled[symmetry] = false;
            assert!(!matching.improve(symmetry).unwrap(), "the optimum is not changed again");
            before = after;
        }
        assert!(before > start);
        let permuted = matching.permutations.apply_to_all(&b).unwrap();
        assert!(matching.permuted.iter().all(|(name, tensor)| difference(tensor, &permuted[name]) == 0.0));
    }
}

/// Compared with trying all orders of heads and, in turn, of the units in each.
#[test]
fn heads_and_the_units_within_are_assigned_together() {
    let elements = |seed: u64| {
        let value = |i: u64| ((i * i + 3 * i + 7 * seed) as f64 * 1.3).sin() as f32;
        Tensor::from_vec((0..24).map(value).collect(), (6, 4), &Device::Cpu).unwrap()
    };
    let place = Place { tensor: "w".into(), axis: 0, start: 0, role: Role::Learned };
    let symmetries = [Symmetry { groups: 3, sets: vec![Units { size: 2, places: vec![place.clone()] }] }];
    let [a, b] = [1, 2].map(|seed| StateDict::from([("w".to_owned(), elements(seed))]));
    let mut matching = Matching::new(&a, &b, &symmetries).unwrap();
    matching.improve(0).unwrap();
    let found = objective(&matching);
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let mut most = f64::NEG_INFINITY;
    for (heads, swaps) in orders.iter().flat_map(|heads| (0..8).map(move |swaps| (heads, swaps))) {
        let units = |head: usize| [2 * head + (swaps >> head & 1), 2 * head + 1 - (swaps >> head & 1)];
        let order: Vec<usize> = heads.iter().flat_map(|&head| units(head)).collect();
        let mut other = Matching::new(&a, &b, &symmetries).unwrap();
        let mut step = Permutations::default();
        step.reorder(&place, &order);
        other.permuted = step.apply_to_all(&b).unwrap();
        most = most.max(objective(&other));
    }
    assert!((found - most).abs() < 1e-9, "{found}, but the maximum is {most}");
}

#[test]
fn one_thread_and_two_find_the_same() {
    for text in [KINDS[3].0, KINDS[4].0] {
        let spec = backbone(text);
        let (a, b) = (model(&spec, 1), model(&spec, 2));
        let [one, two] = [1, 2].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| align(&a, &b, &symmetries(&spec), 3)).unwrap()
        });
        assert_eq!(one, two);
        assert_ne!(one, Permutations::default());
    }
}

#[test]
fn heads_of_other_classes_do_not_count_and_move_along() {
    let spec = backbone(KINDS[0].0);
    let tensors = model(&spec, 1);
    let mut permuted = shuffled(&symmetries(&spec), 2).apply_to_all(&tensors).unwrap();
    let head = Tensor::cat(&[&permuted["fc.weight"], &permuted["fc.weight"]], 0).unwrap();
    permuted.insert("fc.weight".into(), head);
    let back = align(&tensors, &permuted, &symmetries(&spec), 0).unwrap();
    let back = back.apply_to_all(&permuted).unwrap();
    assert_eq!(difference(&back["fc.weight"].narrow(0, 0, 4).unwrap(), &tensors["fc.weight"]), 0.0);
    permuted.remove("fc.weight");
    align(&tensors, &permuted, &symmetries(&spec), 0).unwrap();
}

#[test]
fn errors_name_the_tensor_that_cannot_be_aligned() {
    let spec = backbone(KINDS[0].0);
    let (a, b) = (model(&spec, 1), model(&spec, 2));
    let message = |other: &StateDict, symmetries: &[Symmetry]| {
        let error = align(&a, other, symmetries, 0).unwrap_err().to_string();
        error.lines().next().unwrap_or_default().to_owned() // a backtrace may follow
    };
    let of_this = symmetries(&spec);
    let mut lacks = b.clone();
    lacks.remove("layer1.0.bn1.weight");
    let mut smaller = b.clone();
    smaller.insert("bn1.bias".into(), Tensor::new(&[1f32], &Device::Cpu).unwrap());
    let mut not_finite = b.clone();
    let nan = (&b["bn1.bias"] * f64::NAN).unwrap();
    not_finite.insert("bn1.bias".into(), nan);
    let wider = symmetries(&backbone("resnet18 = { width = 32 }"));
    let not_finite = message(&not_finite, &of_this);
    insta::assert_snapshot!(
        [message(&lacks, &of_this), message(&smaller, &of_this), message(&b, &wider)].join("\n"),
        @r"
    a model has no tensor `layer1.0.bn1.weight`, which is needed to match its units
    `bn1.bias` has shape [16] in one model and [1] in another
    `layer1.0.conv1.weight` has shape [16, 16, 3, 3], too small for 32 units from index 0 of dimension 0; are the tensors from another backbone?
    "
    );
    assert!(not_finite.contains("`bn1.bias`") && not_finite.contains("not finite"), "{not_finite}");
}
