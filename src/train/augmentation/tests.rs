use super::*;

const SIZE: usize = 5;

/// All bytes differ.
fn image() -> Vec<u8> {
    (1..=(SIZE * SIZE * 3) as u8).collect()
}

fn augment(list: Value) -> Augment {
    serde_json::from_value(list).unwrap()
}

fn everything() -> Augment {
    augment(json!([{ "crop": { "padding": 4 } }, { "horizontal_flip": {} }, { "vertical_flip": {} }]))
}

fn applied(augment: &Augment, index: usize) -> Vec<u8> {
    augment.draw(3, 0, index).applied(&image(), SIZE, &mut Default::default()).to_vec()
}

fn pixel(image: &[u8], y: usize, x: usize) -> &[u8] {
    &image[(y * SIZE + x) * 3..][..3]
}

#[test]
fn an_empty_list_changes_nothing() {
    assert!((0..20).all(|index| applied(&Augment::default(), index) == image()));
}

/// Digests from the version that had three switches and a single function.
#[test]
fn the_variants_have_not_changed() {
    let digest = |augment: &Augment| {
        let all: Vec<u8> = (0..50).flat_map(|index| applied(augment, index)).collect();
        blake3::hash(&all).to_hex()[..16].to_owned()
    };
    assert_eq!(digest(&everything()), "a4d9b2c0e7bd0a00");
    assert_eq!(digest(&augment(json!([{ "horizontal_flip": {} }]))), "64a0821f71e18832");
}

/// One transform of each kind with its defaults, and the most that their ranges allow.
fn of_each_kind() -> Augment {
    let kinds = AugmentationSpec::KINDS.iter().map(|kind| json!({ *kind: {} }));
    let extremes = [
        json!({ "random_resized_crop": { "scale": [1e-4, 100.0], "ratio": [0.01, 100.0] } }),
        json!({ "random_erasing": { "probability": 1.0, "scale": [1e-4, 1.0], "ratio": [0.01, 100.0] } }),
        json!({ "affine": { "degrees": 180.0, "translate": 1.0, "scale": [0.01, 100.0], "shear": 89.0 } }),
        json!({ "color_jitter": { "brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.5 } }),
        json!({ "gaussian_blur": { "kernel_size": 99, "sigma": [1e-3, 1e3] } }),
        json!({ "rand_augment": { "operations": 14, "magnitude": 30 } }),
    ];
    augment(kinds.chain(extremes).collect())
}

#[test]
fn every_kind_works_on_images_of_any_size_and_repeats_itself() {
    let augment = of_each_kind();
    let mut problems = Problems::default();
    augment.validate(&mut problems);
    assert!(problems.is_empty(), "{:?}", problems.into_list());
    for size in [1, 2, 3, 12] {
        let image: Vec<u8> = (0..size * size * 3).map(|i| (i * 37 % 256) as u8).collect();
        for index in 0..200 {
            let changed =
                || augment.draw(5, 1, index).applied(&image, size, &mut Default::default()).to_vec();
            assert_eq!(changed(), changed());
        }
    }
}

#[test]
fn flips_are_independent_and_have_probability_one_half() {
    let flips = augment(json!([{ "horizontal_flip": {} }, { "vertical_flip": {} }]));
    let image = image();
    let corners = [(0, 0), (0, SIZE - 1), (SIZE - 1, 0), (SIZE - 1, SIZE - 1)];
    let mut seen = [0; 4];
    for index in 0..2000 {
        let out = applied(&flips, index);
        let from = corners.iter().position(|&(y, x)| pixel(&image, y, x) == pixel(&out, 0, 0));
        seen[from.expect("a corner stays a corner")] += 1;
    }
    // 500 expected each; five standard deviations are 97
    assert!(seen.iter().all(|count| (403..=597).contains(count)), "{seen:?}");
}

#[test]
fn flips_make_few_variants_and_crops_many() {
    let few = |list: Value, epochs| augment(list).distinct_variants(epochs);
    let flip = || json!([{ "horizontal_flip": {} }]);
    assert_eq!(few(json!([]), 7), Some(1.0));
    assert_eq!([few(flip(), 1), few(flip(), 2)], [Some(1.0), Some(1.5)]);
    let both = few(json!([{ "horizontal_flip": {} }, { "vertical_flip": {} }]), 100);
    assert!(both.is_some_and(|variants| (3.99..=4.0).contains(&variants)));
    assert_eq!(everything().distinct_variants(7), None);
}

#[test]
fn every_crop_is_equally_likely() {
    let mut seen = [0; 5];
    for index in 0..5000 {
        seen[below(rng(1, Purpose::Augment, 0, index).next_u64(), 5)] += 1;
    }
    assert!(seen.iter().all(|count| (850..=1150).contains(count)), "{seen:?}");
}

#[test]
fn a_transform_draws_the_same_numbers_independently_of_other_transforms() {
    let flip = augment(json!([{ "vertical_flip": {} }]));
    for index in 0..50 {
        assert_eq!(flip.draw(3, 0, index).key()[0], everything().draw(3, 0, index).key()[2]);
    }
}

#[test]
fn mixes_are_drawn_for_a_batch_in_order_and_leave_the_images_changes_as_they_are() {
    let list = json!([{ "crop": { "padding": 4 } }, { "mixup": {} }, { "cutmix": {} }, { "mixup": {} }]);
    let (augment, crop) = (augment(list), augment(json!([{ "crop": { "padding": 4 } }])));
    let shares = |seed, epoch, batch| -> Vec<f64> {
        augment.mixes(seed, epoch, batch, SIZE).iter().map(|mix| mix.share()).collect()
    };
    let first = shares(3, 0, 0);
    assert_eq!(first, shares(3, 0, 0));
    assert!(first.len() == 3 && first[0] != first[2]);
    for other in [shares(4, 0, 0), shares(3, 1, 0), shares(3, 0, 1)] {
        assert_ne!(first, other);
    }
    assert!((0..50).all(|index| applied(&augment, index) == applied(&crop, index)));
    assert!(augment.mixes_batches() && !augment.has_few_variants());
    assert!(!crop.mixes_batches() && crop.mixes(3, 0, 0, SIZE).is_empty());
}

#[test]
fn a_transform_of_images_after_one_of_batches_is_refused() {
    let mut problems = Problems::default();
    let list = json!([{ "cutmix": {} }, { "mixup": {} }, { "horizontal_flip": {} }]);
    augment(list).validate_together(&mut problems);
    let problems = problems.into_list();
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!(problem.path, "2.horizontal_flip");
    assert_eq!(problem.help.as_deref(), Some("move `horizontal_flip` before `cutmix`"));
}

#[test]
fn lists_that_switches_could_express_keep_their_fingerprint() {
    let switches = json!({ "horizontal_flip": true, "vertical_flip": true, "crop_padding": 4 });
    assert_eq!(everything().options(), switches);
    let off = json!({ "horizontal_flip": false, "vertical_flip": false, "crop_padding": 0 });
    assert_eq!(Augment::default().options(), off);
    let other = json!([{ "horizontal_flip": {} }, { "crop": { "padding": 4 } }]);
    assert_eq!(augment(other.clone()).options(), other, "a crop after a flip");
    let twice = json!([{ "horizontal_flip": {} }, { "horizontal_flip": {} }]);
    assert_eq!(augment(twice.clone()).options(), twice);
}
