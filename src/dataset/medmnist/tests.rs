use tempfile::TempDir;
use zip::CompressionMethod::{self, Deflated, Stored};

use super::super::npz::write::{npy, npz};
use super::*;

type Arrays = Vec<(&'static str, Vec<u8>)>;

/// Two, one and one gray images of 4 x 4 pixels; labels 0 2 / 1 / 0.
fn gray() -> Arrays {
    let pixels: Vec<u8> = (0..32).collect();
    vec![
        ("train_images", npy("|u1", &[2, 4, 4], &pixels)),
        ("train_labels", npy("|u1", &[2, 1], &[0, 2])),
        ("val_images", npy("|u1", &[1, 4, 4], &pixels[..16])),
        ("val_labels", npy("|u1", &[1, 1], &[1])),
        ("test_images", npy("|u1", &[1, 4, 4], &pixels[16..])),
        ("test_labels", npy("|u1", &[1, 1], &[0])),
    ]
}

fn with(name: &'static str, array: Vec<u8>) -> Arrays {
    let replace = |(key, old)| if key == name { (key, array.clone()) } else { (key, old) };
    gray().into_iter().map(replace).collect()
}

fn spec(compression: CompressionMethod, arrays: &Arrays) -> (TempDir, MedmnistSpec) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.npz");
    npz(&path, compression, arrays);
    (folder, MedmnistSpec { path, size: None, classes: None, set: None })
}

fn error(arrays: &Arrays) -> String {
    let (_folder, spec) = spec(Deflated, arrays);
    let error = spec.load(None).unwrap_err().to_string();
    assert_eq!(spec.summary().unwrap_err().to_string(), error);
    error
}

#[test]
fn gray_images_become_rgb_and_classes_span_all_splits() {
    let (_folder, spec) = spec(Deflated, &gray());
    let data = spec.load(None).unwrap();
    assert_eq!((data.size, spec.size()), (4, 4));
    assert_eq!(data.classes, ["0", "1", "2"]);
    assert_eq!(data.train.pixels[..6], [0, 0, 0, 1, 1, 1]);
    assert_eq!(data.test.pixels[..3], [16, 16, 16]);
    assert_eq!((data.train.labels, data.val.labels), (vec![0, 2].into(), vec![1].into()));
    assert_eq!(data.train.names, ["train/0", "train/1"]);
    assert_eq!(spec.summary().unwrap().counts, [vec![1, 0, 1], vec![0, 1, 0], vec![1, 0, 0]]);
}

#[test]
fn the_digest_depends_on_the_content_and_not_on_its_storage() {
    let (_a, deflated) = spec(Deflated, &gray());
    let (_b, stored) = spec(Stored, &gray());
    let (_c, signed) = spec(Stored, &with("val_labels", npy("<i8", &[1], &1i64.to_le_bytes())));
    let (_d, other) = spec(Stored, &with("val_labels", npy("|u1", &[1, 1], &[2])));
    let (_e, pixel) = spec(Stored, &with("val_images", npy("|u1", &[1, 4, 4], &[9; 16])));
    let expected = deflated.summary().unwrap();
    assert_eq!(stored.summary().unwrap(), expected);
    assert_eq!(signed.summary().unwrap(), expected);
    assert_ne!(other.summary().unwrap().digest, expected.digest);
    assert_ne!(pixel.summary().unwrap().digest, expected.digest);
}

#[test]
fn images_are_resized_and_cached_only_if_their_size_differs() {
    let rgb: Vec<u8> = (0..48).collect();
    let (folder, mut spec) = spec(Stored, &with("val_images", npy("|u1", &[1, 4, 4, 3], &rgb)));
    let cache = folder.path().join("cache");
    assert_eq!(spec.load(Some(&cache)).unwrap().val.pixels[..], rgb);
    assert!(!cache.exists());
    spec.size = Some(2);
    let data = spec.load(Some(&cache)).unwrap();
    assert_eq!((data.size, data.val.pixels.len()), (2, 12));
    assert_eq!(data.val.pixels[..], spec.load(None).unwrap().val.pixels[..]);
    assert!(cache.join("pixels").exists());
}

#[test]
fn images_that_are_not_square_need_a_size() {
    let oblong = with("test_images", npy("|u1", &[1, 2, 8], &[7; 16]));
    assert!(error(&oblong).contains("set `size`"));
    let (_folder, mut spec) = spec(Stored, &oblong);
    spec.size = Some(4);
    assert_eq!(spec.load(None).unwrap().test.pixels[..], [7; 48]);
}

#[test]
fn errors_name_the_array() {
    assert!(error(&gray()[1..].to_vec()).contains("train_images: the array is missing"));
    let several = with("val_labels", npy("|u1", &[1, 14], &[0; 14]));
    assert!(error(&several).contains("val_labels: either every split has one label per image, or every"));
    assert!(error(&with("val_labels", npy("|u1", &[2, 1], &[0; 2]))).contains("2 labels for 1 images"));
    assert!(
        error(&with("val_labels", npy("<f4", &[1, 1], &[0; 4]))).contains("val_labels: its type is '<f4'")
    );
    let negative = npy("<i8", &[1, 1], &(-1i64).to_le_bytes());
    assert!(error(&with("test_labels", negative)).contains("test_labels[0]: label -1"));
    let volume = npy("|u1", &[1, 2, 2, 4], &[0; 16]);
    assert!(error(&with("test_images", volume)).contains("test_images: images must be uint8"));
}

#[test]
fn labels_must_fit_the_given_classes() {
    let (_folder, mut spec) = spec(Deflated, &gray());
    spec.classes = Some(vec!["a".into(), "b".into()]);
    assert!(spec.summary().unwrap_err().to_string().contains("train_labels[1]: label 2 is out of range"));
    spec.classes = Some(["a", "b", "c", "d"].map(String::from).into());
    assert_eq!(spec.summary().unwrap().counts[0], [1, 0, 1, 0]);
}

/// The labels of [`gray`] for two classes; −1 is unknown.
fn several(val: &[i64]) -> Arrays {
    let bytes = |numbers: &[i64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let labels = |name: &str| match name {
        "train_labels" => Some(npy("|u1", &[2, 2], &[0, 0, 1, 1])),
        "val_labels" => Some(npy("<i8", &[1, val.len()], &bytes(val))),
        "test_labels" => Some(npy("|u1", &[1, 2], &[0, 1])),
        _ => None,
    };
    gray().into_iter().map(|(name, array)| (name, labels(name).unwrap_or(array))).collect()
}

#[test]
fn several_labels_per_image_are_a_multi_label_data_set() {
    let (_folder, mut spec) = spec(Deflated, &several(&[-1, 1]));
    let (data, summary) = (spec.load(None).unwrap(), spec.summary().unwrap());
    assert_eq!(
        (data.classes, data.train.labels.texts()),
        (vec!["0".into(), "1".into()], vec!["00".into(), "11".into()])
    );
    assert_eq!(
        (data.val.labels.texts(), data.test.labels.texts()),
        (vec!["?1".to_owned()], vec!["01".to_owned()])
    );
    assert_eq!(summary.counts, [[1, 1], [0, 1], [0, 1]]);
    let multi = summary.multi_label.unwrap();
    assert_eq!((multi.images, multi.unknown[1].as_slice()), ([2, 1, 1], &[1, 0][..]));
    spec.classes = Some(vec!["a".into()]);
    let message = spec.load(None).unwrap_err().to_string();
    assert!(message.contains("train_labels: 2 labels per image, but there are 1 classes"), "{message}");
    spec.classes = Some(vec!["a|b".into(), "c".into()]);
    assert!(spec.load(None).unwrap_err().to_string().contains("must not have `|` in its name, unlike 'a|b'"));
}

#[test]
fn a_label_among_several_that_is_none_is_an_error_that_says_where() {
    let endless = with("train_labels", npy("|u1", &[0, 1 << 40], &[]));
    assert!(
        error(&endless).contains("train_labels: labels must be of shape [n, 1] or [n, classes], not [0, ")
    );
    let message = error(&several(&[0, 2]));
    assert!(
        message.contains("val_labels[0, 1]: label 2: with several labels per image, each must"),
        "{message}"
    );
    assert!(error(&several(&[0, 1, 0])).contains("val_labels: 3 labels per image, but there are 2 classes"));
}

#[test]
fn a_truncated_file_is_an_error_with_advice() {
    let (_folder, spec) = spec(Deflated, &gray());
    let whole = std::fs::read(&spec.path).unwrap();
    std::fs::write(&spec.path, &whole[..whole.len() / 2]).unwrap();
    assert!(spec.load(None).unwrap_err().to_string().contains("download it again"));
    assert_eq!(spec.size(), 0);
}

#[test]
fn f22_images_without_pixels_are_an_error() {
    let (_folder, mut spec) = spec(Stored, &with("val_images", npy("|u1", &[1, 0, 4], &[])));
    spec.size = Some(4);
    for error in [spec.summary().unwrap_err(), spec.load(None).unwrap_err()] {
        assert!(error.to_string().contains("val_images: its images have no pixels (0 x 4)"), "{error}");
    }
}

#[test]
#[cfg(unix)]
fn f22_a_device_is_refused() {
    let spec = MedmnistSpec { path: "/dev/zero".into(), size: None, classes: None, set: None };
    let message = spec.summary().unwrap_err().to_string();
    assert_eq!(message, "/dev/zero: failed to open: it is a pipe or a device, not a file");
}
