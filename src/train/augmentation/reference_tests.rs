//! Every transform against torchvision with the same parameters; `tests/reference/make_augmentations.py` and, for those
//! of batches, `make_training_options.py`.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};

use super::cutmix::Paste;
use super::gaussian_blur::GaussianBlur;
use super::mixing::{Mix, mix_images, mix_labels};
use super::mixup::Blend;
use super::operation::{Operate, Operation};
use super::random_resized_crop::ResizedCrop;
use super::rotation::Rotation;
use super::warp::{Affine, Interpolation};
use super::{Change, Changes, color};

/// Largest mean difference in gray levels.
const TOLERANCE: f64 = 0.5;

struct Reference {
    images: HashMap<String, Tensor>,
}

impl Reference {
    fn load() -> Self {
        Self::of("augmentations.safetensors")
    }

    fn of(file: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference").join(file);
        Self { images: candle_core::safetensors::load(path, &Device::Cpu).unwrap() }
    }

    fn image(&self, name: &str) -> Vec<u8> {
        self.images[name].flatten_all().unwrap().to_vec1().unwrap()
    }

    fn size(&self) -> usize {
        self.images["image"].dims()[0]
    }

    /// Compares with the image of this name, less outliers where rounding decides which pixel is nearest.
    fn assert(&self, name: &str, ours: &[u8]) {
        let theirs = self.image(name);
        assert_eq!(ours.len(), theirs.len());
        let difference: u64 = ours.iter().zip(&theirs).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        let mean = difference as f64 / ours.len() as f64;
        assert!(mean < TOLERANCE, "{name}: {mean} gray levels");
    }

    fn assert_change(&self, name: &str, change: &dyn Change) {
        let mut out = vec![0; self.image("image").len()];
        change.apply(&self.image("image"), self.size(), &mut out);
        self.assert(name, &out);
    }

    fn assert_in_place(&self, name: &str, change: impl Fn(&mut [u8])) {
        let mut image = self.image("image");
        change(&mut image);
        self.assert(name, &image);
    }
}

#[test]
fn rotations_and_affine_maps_are_torchvisions() {
    let reference = Reference::load();
    for (name, interpolation) in [("nearest", Interpolation::Nearest), ("bilinear", Interpolation::Bilinear)]
    {
        for angle in [-37.0, 12.5, 90.0] {
            reference.assert_change(&format!("rotate.{name}.{angle:?}"), &Rotation { angle, interpolation });
        }
        let affine =
            Affine { angle: 20.0, translate: [3.0, -2.0], scale: 1.2, shear: [8.0, 0.0], center: [0.0; 2] };
        let mut out = reference.image("image");
        affine.apply(&reference.image("image"), reference.size(), interpolation, &mut out);
        reference.assert(&format!("affine.{name}"), &out);
    }
}

#[test]
fn changes_of_colors_are_torchvisions() {
    let reference = Reference::load();
    let size = reference.size();
    for factor in [0.6_f32, 1.4] {
        reference.assert_in_place(&format!("brightness.{factor}"), |image| color::brightness(image, factor));
        reference.assert_in_place(&format!("contrast.{factor}"), |image| color::contrast(image, factor));
        reference.assert_in_place(&format!("saturation.{factor}"), |image| color::saturation(image, factor));
        reference
            .assert_in_place(&format!("sharpness.{factor}"), |image| color::sharpness(image, size, factor));
    }
    for shift in [-0.3_f32, 0.1] {
        reference.assert_in_place(&format!("hue.{shift}"), |image| color::hue(image, shift));
    }
    reference.assert_in_place("posterize.3", |image| color::posterize(image, 3));
    reference.assert_in_place("solarize.0.4", |image| color::solarize(image, 0.4 * 255.0));
    reference.assert_in_place("equalize", color::equalize);
    reference.assert_in_place("autocontrast", |image| {
        image.iter_mut().for_each(|level| *level = *level / 2 + 30);
        color::autocontrast(image);
    });
}

#[test]
fn blurs_and_resized_crops_are_torchvisions() {
    let reference = Reference::load();
    for sigma in [0.3, 1.7] {
        reference.assert_change(&format!("blur.{sigma}"), &GaussianBlur::new(5, sigma));
    }
    let size = reference.size() as f64;
    // rows 3 to 16 and columns 5 to 23; in the middle of the places that round to them
    let crop = ResizedCrop { sides: [13.0 / size, 18.0 / size], places: [3.5 / 12.0, 5.5 / 7.0] };
    reference.assert_change("resized_crop", &crop);
}

/// Parts of a larger image, as of one that is kept at `cache_size`.
#[test]
fn parts_of_larger_images_are_torchvisions() {
    let (reference, small) = (Reference::load(), 16);
    let side = reference.size();
    let mut out = vec![0; small * small * 3];
    for [top, left, height, width] in [[0, 0, 24, 24], [3, 5, 13, 18], [2, 0, 22, 17], [9, 14, 7, 6]] {
        let share = |length: usize| length as f64 / side as f64;
        // in the middle of the places that round to this one
        let place = |start: usize, length: usize| (start as f64 + 0.5) / (side - length + 1) as f64;
        let sides = [share(height), share(width)];
        let crop = ResizedCrop { sides, places: [place(top, height), place(left, width)] };
        crop.reduce(&reference.image("image"), side, small, &mut out);
        reference.assert(&format!("reduced.{top}.{left}.{height}.{width}"), &out);
    }
    let whole = Changes::default();
    let image = reference.image("image");
    reference.assert("reduced.0.0.24.24", whole.applied(&image, small, &mut Default::default()));
}

#[test]
fn operations_of_policies_are_torchvisions() {
    let reference = Reference::load();
    let cases = [
        ("shear_x.0.25", Operation::ShearX, 0.25),
        ("shear_y.0.25", Operation::ShearY, 0.25),
        ("translate_x.-5", Operation::TranslateX, -5.0),
        ("translate_y.4", Operation::TranslateY, 4.0),
        ("rotate.nearest.12.5", Operation::Rotate, 12.5),
        ("brightness.1.4", Operation::Brightness, 0.4),
        ("saturation.0.6", Operation::Color, -0.4),
        ("contrast.1.4", Operation::Contrast, 0.4),
        ("sharpness.0.6", Operation::Sharpness, -0.4),
        ("posterize.3", Operation::Posterize, 3.0),
        ("solarize.0.4", Operation::Solarize, 0.4),
        ("equalize", Operation::Equalize, 0.0),
        ("image", Operation::Identity, 0.0),
    ];
    for (name, operation, magnitude) in cases {
        reference.assert_change(name, &Operate { operation, magnitude, relative: false });
    }
}

/// Mixed images and labels; torchvision computes in f32, too, so that labels are equal bit by bit.
fn assert_mix(name: &str, mix: &dyn Mix) {
    let reference = Reference::of("training_options.safetensors");
    let numbers = |name: &str| reference.images[name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let &[n, size, ..] = reference.images["mix.images"].dims() else { panic!("a batch") };
    let mut images = numbers("mix.images");
    mix_images(mix, &mut images, size);
    let expected = numbers(&format!("{name}.images"));
    assert_eq!(images.len(), n * size * size * 3);
    let worst = images.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-3, "{name}: {worst} gray levels");
    let expected = reference.images[&format!("{name}.labels")].clone();
    let (classes, mut labels) = (expected.dims()[1], vec![0.0; expected.elem_count()]);
    let of_images = reference.images["mix.labels"].to_vec1::<i64>().unwrap();
    of_images.iter().enumerate().for_each(|(i, &label)| labels[i * classes + label as usize] = 1.0);
    mix_labels(mix, &mut labels, classes);
    assert_eq!(labels, numbers(&format!("{name}.labels")), "{name}");
}

#[test]
fn mixes_of_batches_are_torchvisions_with_equal_labels() {
    for lambda in [0.0, 0.3, 0.95] {
        assert_mix(&format!("mixup.{lambda:?}"), &Blend { lambda });
    }
    for (lambda, row, column) in [(0.4, 5, 7), (0.1, 1, 10), (0.999, 3, 3)] {
        assert_mix(&format!("cutmix.{lambda}.{row}.{column}"), &Paste::new(lambda, [row, column], 12));
    }
}
