use ::image::{Rgb, RgbImage};
use identity::Identity;
use tempfile::TempDir;

use super::*;
use crate::image_files::Allowed;
use crate::{DatasetKind, PixelSpec, SplitName};

mod multi_label;

/// A folder of single-color images; red is 10, 20, …
fn images() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (index, name) in ["a.png", "b.jpg", "c.png", "d.jpg", "e.png"].iter().enumerate() {
        let color = Rgb([10 * (index as u8 + 1), 100, 200]);
        let image = RgbImage::from_pixel(12, 9, color);
        image.save_with_format(folder.path().join(name), image::ImageFormat::Png).unwrap();
    }
    folder
}

fn spec(folder: &TempDir, csv: &str) -> ManifestSpec {
    let path = folder.path().join("labels.csv");
    std::fs::write(&path, csv).unwrap();
    serde_json::from_value(serde_json::json!({ "path": path, "size": 4 })).unwrap()
}

fn error(csv: &str) -> String {
    let folder = images();
    let spec = spec(&folder, csv);
    let error = spec.summary().unwrap_err().to_string();
    assert_eq!(spec.load(None).unwrap_err().to_string(), error);
    error
}

const CSV: &str = "note,image,label,split,group\nx,c.png,nv,train,1\n,a.png, mel ,train,1\n\
                   ,b.jpg,nv,valid,\n,d.jpg,nv,validation,\n,e.png,mel,test,2\n";

#[test]
fn images_are_read_in_the_order_of_their_paths() {
    let folder = images();
    let spec = spec(&folder, CSV);
    let data = spec.load(None).unwrap();
    assert_eq!(data.classes, ["mel", "nv"]);
    assert_eq!(
        (&data.train.names[..], data.train.labels),
        (&["a.png".into(), "c.png".into()][..], vec![0, 1].into())
    );
    assert_eq!(data.train.pixels[..3], [10, 100, 200]);
    assert_eq!(data.train.pixels[48..51], [30, 100, 200]);
    assert!(data.val.pixels[0].abs_diff(20) < 4, "JPEG");
    assert_eq!(spec.summary().unwrap().counts, [vec![1, 1], vec![0, 2], vec![1, 0]]);
    assert_eq!(spec.files().len(), 6);
}

#[test]
fn groups_are_known_without_reading_an_image() {
    let folder = images();
    let spec = spec(&folder, CSV);
    std::fs::remove_file(folder.path().join("e.png")).unwrap();
    let group = |split| {
        let groups = spec.groups(split).unwrap()?;
        let mut pairs: Vec<String> = groups.iter().map(|(image, group)| format!("{image} {group}")).collect();
        pairs.sort();
        Some(pairs.join(", "))
    };
    assert_eq!(group(SplitName::Test), Some("e.png 2".into()));
    assert_eq!(group(SplitName::Train), Some("a.png 1, c.png 1".into()));
    assert_eq!(group(SplitName::Val), None);
}

#[test]
fn the_digest_follows_paths_labels_splits_and_bytes_only() {
    let folder = images();
    let digest = |csv: &str| spec(&folder, csv).summary().unwrap().digest;
    let first = digest("image,label,split\na.png,x,train\nb.jpg,y,test\n");
    assert_eq!(digest("split,image,group,label\ntest,b.jpg,7,y\ntrain,a.png,8,x\n"), first);
    assert_ne!(digest("image,label,split\na.png,y,train\nb.jpg,y,test\n"), first);
    assert_ne!(digest("image,label,split\na.png,x,val\nb.jpg,y,test\n"), first);
    assert_ne!(digest("image,label,split\na.png,x,train\nc.png,y,test\n"), first);
    std::fs::copy(folder.path().join("c.png"), folder.path().join("a.png")).unwrap();
    assert_ne!(digest("image,label,split\na.png,x,train\nb.jpg,y,test\n"), first);
}

#[test]
fn identical_images_in_two_splits_are_an_error_unless_allowed() {
    let folder = images();
    std::fs::copy(folder.path().join("c.png"), folder.path().join("e.png")).unwrap();
    let mut spec = spec(&folder, CSV);
    let error = spec.summary().unwrap_err().to_string();
    let pair = "row 6: 1 pair of identical images is in different splits, so scores would be too good; the \
                first: c.png (row 2, train) and e.png (row 6, test); remove one of each, or set \
                `allow = [\"identical_images\"]`";
    assert!(error.ends_with(pair), "{error}");
    spec.allow = vec![Allowed::IdenticalImages];
    let caveats = spec.summary().unwrap().caveats;
    assert_eq!(caveats, ["1 pair of identical images is in different splits"]);
}

#[test]
fn decoded_images_come_from_the_cache_the_second_time() {
    let folder = images();
    let cache = folder.path().join("cache");
    let first = spec(&folder, CSV).load(Some(&cache)).unwrap();
    std::fs::write(folder.path().join("a.png"), "gone").unwrap();
    let second = spec(&folder, CSV).load(Some(&cache)).unwrap();
    assert_eq!(first.train.pixels[..], second.train.pixels[..]);
    assert_eq!(first.test.names, second.test.names);
}

#[test]
fn a_leak_between_splits_is_an_error_that_names_both_rows() {
    let twice = error("image,label,split\na.png,x,train\nb.jpg,x,val\n./a.png,x,test\n");
    assert!(
        twice.contains("row 4: image './a.png' is in two splits: test here and train in row 2"),
        "{twice}"
    );
    let group = error("image,label,split,group\na.png,x,train,p1\nb.jpg,x,train,\nc.png,x,test,p1\n");
    assert!(group.contains("row 4: group 'p1' is in two splits: test here and train in row 2"), "{group}");
    assert!(group.ends_with("into one split, or set `allow = [\"shared_groups\"]`"), "{group}");
    let repeated = error("image,label,split\na.png,x,train\na.png,y,train\n");
    assert!(repeated.contains("row 3: image 'a.png' is a duplicate of row 2"), "{repeated}");
}

#[test]
fn rows_that_cannot_be_used_are_named() {
    let is = |csv: &str, expected: &str| {
        let message = error(csv);
        assert!(message.contains(expected), "{message}");
    };
    is("image,label,split\na.png,x,third\n", "row 2: unknown split 'third'; it must be train, val or test");
    is("image,label,split\na.png,x,train\nb.jpg, ,train\n", "row 3: the label is empty");
    is("image,label,split\n,x,train\n", "row 2: the image is empty");
    is("image,label,split\na.png,x\n", "row 2: failed to read the CSV");
    is("image,class,split\na.png,x,train\n", "row 1: column 'label' is missing");
    is("image,label,split\n", "the CSV has no rows");
    is("image,label\na.png,x\n", "row 2: image 'a.png' has no split; set `split`");
    is("", "row 1: column 'image' is missing");
}

#[test]
fn missing_images_are_listed_up_to_three() {
    let rows: String = (0..5).map(|row| format!("{row}.png,x,train\n")).collect();
    let message = error(&format!("image,label,split\na.png,x,train\n{rows}"));
    assert!(message.contains("row 3: no such image: ") && message.contains("0.png (row 3)"), "{message}");
    assert!(message.contains("2.png (row 5) and 2 more; `images`"), "{message}");
}

#[test]
fn labels_must_be_among_the_given_classes_whose_order_counts() {
    let folder = images();
    let mut spec = spec(&folder, CSV);
    spec.classes = Some(vec!["nv".into(), "mel".into()]);
    assert_eq!(spec.load(None).unwrap().train.labels, vec![1, 0].into());
    spec.classes = Some(vec!["nv".into()]);
    let message = spec.summary().unwrap_err().to_string();
    assert!(message.contains("row 3: label 'mel' is not in `classes` (nv)"), "{message}");
}

#[test]
fn numbers_are_sorted_as_numbers() {
    let folder = images();
    let rows = "image,label,split\na.png,10,train\nb.jpg,9,train\nc.png,2,train\n";
    assert_eq!(spec(&folder, rows).summary().unwrap().classes, ["2", "9", "10"]);
}

#[test]
fn the_content_determines_the_format_and_text_is_not_an_image() {
    let folder = images();
    std::fs::rename(folder.path().join("a.png"), folder.path().join("png.jpg")).unwrap();
    std::fs::write(folder.path().join("text.jpg"), "not an image").unwrap();
    let good = spec(&folder, "\u{feff}image,label,split\npng.jpg,x,train\n");
    assert_eq!(good.load(None).unwrap().train.pixels[..3], [10, 100, 200]);
    let bad = spec(&folder, "image,label,split\nb.jpg,x,train\ntext.jpg,x,val\n");
    let message = bad.load(None).unwrap_err().to_string();
    assert!(message.contains("row 3: ") && message.contains("text.jpg cannot be decoded"), "{message}");
    assert_eq!(bad.summary().unwrap_err().to_string(), message);
}

#[test]
fn f02_a_truncated_image_is_refused_with_its_row() {
    let folder = images();
    for name in ["b.jpg", "c.png"] {
        let path = folder.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 2]).unwrap();
        let message = spec(&folder, &format!("image,label,split\na.png,x,train\n{name},x,val\n"));
        let message = message.summary().unwrap_err().to_string();
        assert!(message.contains("labels.csv, row 3: ") && message.contains("it is truncated"), "{message}");
    }
}

#[test]
fn f22_limits_of_pixels_and_bits_are_errors_with_the_row() {
    let folder = images();
    let csv = "image,label,split\na.png,x,train\n";
    let limited = |max_pixels| PixelSpec { max_pixels, ..PixelSpec::default() };
    let small = ManifestSpec { pixels: limited(107), ..spec(&folder, csv) };
    for message in [small.summary().unwrap_err(), small.load(None).unwrap_err()] {
        assert!(message.to_string().contains("row 2: "), "{message}");
        assert!(
            message.to_string().contains("12 x 9 = 108 pixels, more than `max_pixels` (107)"),
            "{message}"
        );
    }
    let enough = ManifestSpec { pixels: limited(108), ..spec(&folder, csv) };
    assert_eq!(enough.options(), spec(&folder, csv).options(), "the limit changes no result");
    assert_eq!(enough.summary().unwrap(), spec(&folder, csv).summary().unwrap());
}

#[test]
fn f22_options_are_those_of_before_without_the_new_keys() {
    let folder = images();
    let options = spec(&folder, CSV).options();
    assert_eq!(options, serde_json::json!({ "size": 4, "classes": null }));
}

#[test]
#[cfg(unix)]
fn f22_a_pipe_or_device_is_refused_as_image_and_as_csv() {
    let folder = images();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero.png")).unwrap();
    let message = spec(&folder, "image,label,split\nzero.png,x,train\n").summary().unwrap_err().to_string();
    assert!(message.contains("row 2: no such image: "), "{message}");
    let zero = ManifestSpec { path: "/dev/zero".into(), ..spec(&folder, CSV) };
    let message = zero.summary().unwrap_err().to_string();
    assert!(message.contains("it is a pipe or a device, not a file"), "{message}");
}

fn with(keys: serde_json::Value, csv: &str) -> (TempDir, ManifestSpec) {
    let folder = images();
    let plain = serde_json::to_value(spec(&folder, csv)).unwrap();
    let all = plain.as_object().unwrap().clone().into_iter().chain(keys.as_object().unwrap().clone());
    (folder, serde_json::from_value(all.collect()).unwrap())
}

#[test]
fn columns_may_have_any_names_and_delimiters() {
    let columns = serde_json::json!({ "columns": {
        "image": "file", "label": "diagnosis", "split": "fold", "group": "patient", "extension": ".png"
    } });
    let csv = "patient;file;fold;diagnosis\n1;a;Training;mel\n1;c;train;nv\n2;e;Testing;nv\n";
    let (_folder, spec) = with(columns.clone(), csv);
    let data = spec.load(None).unwrap();
    assert_eq!(
        (data.classes, data.train.names, data.test.labels),
        (vec!["mel".into(), "nv".into()], vec!["a.png".into(), "c.png".into()], vec![1].into())
    );
    let (_folder, spec) = with(columns, "patient;file;fold\n1;a;train\n");
    let message = spec.summary().unwrap_err().to_string();
    assert!(
        message.ends_with("column 'diagnosis' is missing; the header is 'patient,file,fold'"),
        "{message}"
    );
}

#[test]
fn one_hot_columns_are_classes() {
    let one_hot = serde_json::json!({ "columns": { "one_hot": ["nv", "mel"] } });
    let (_folder, spec) = with(one_hot.clone(), "image,split,mel,nv\na.png,train,1.0,0.0\nb.jpg,val,0,1\n");
    let data = spec.load(None).unwrap();
    assert_eq!(
        (data.classes, data.train.labels, data.val.labels),
        (vec!["nv".into(), "mel".into()], vec![1].into(), vec![0].into())
    );
    for (row, expected) in [
        ("1,1", "row 2: it is both 'nv' and 'mel'"),
        ("0,0", "row 2: none of its classes is 1"),
        ("0.5,0", "row 2: 'mel' is '0.5'; it must be 0 or 1"),
        (",0", "row 2: the mel is empty"),
    ] {
        let (_folder, spec) = with(one_hot.clone(), &format!("image,split,mel,nv\na.png,train,{row}\n"));
        let message = spec.summary().unwrap_err().to_string();
        assert!(message.ends_with(expected), "{message}");
    }
}

#[test]
fn the_digest_has_the_order_of_classes_that_no_option_in_the_fingerprint_states() {
    let digest = |keys: serde_json::Value, csv: &str| {
        let (_folder, spec) = with(keys, csv);
        spec.summary().unwrap().digest
    };
    let columns = |order: [&str; 2]| serde_json::json!({ "columns": { "one_hot": order } });
    let csv = "image,split,mel,nv\na.png,train,1,0\nb.jpg,val,0,1\n";
    assert_ne!(digest(columns(["nv", "mel"]), csv), digest(columns(["mel", "nv"]), csv));
    let csv = "image,label,split\na.png,x,train\nb.jpg,y,val\n";
    let keys = |map: serde_json::Value| serde_json::json!({ "classes": ["x", "y", "z"], "class_map": map });
    let plain = digest(keys(serde_json::json!({})), csv);
    assert_ne!(digest(keys(serde_json::json!({ "z": "" })), csv), plain, "two classes");
}

#[test]
fn labels_are_renamed_and_left_out() {
    let map = serde_json::json!({ "class_map": { "melanoma": "mel", "unknown": "" } });
    let csv = "image,label,split\na.png,melanoma,train\nb.jpg,nv,train\nc.png,unknown,test\nd.jpg,mel,test\n";
    let (_folder, spec) = with(map.clone(), csv);
    let data = spec.load(None).unwrap();
    assert_eq!(data.classes, ["mel", "nv"]);
    assert_eq!((data.train.labels, data.test.names), (vec![0, 1].into(), vec!["d.jpg".into()]));
    let (_folder, spec) = with(map, "image,label,split\na.png,melanoma,train\n");
    let message = spec.summary().unwrap_err().to_string();
    assert!(
        message.ends_with("no image has the label 'unknown' of `class_map`; labels are melanoma"),
        "{message}"
    );
}

#[test]
fn shared_groups_are_an_error_unless_allowed() {
    let csv = "image,label,split,group\na.png,x,train,p1\nb.jpg,y,train,p2\nc.png,x,test,p1\n";
    let (_folder, spec) = with(serde_json::json!({ "allow": ["shared_groups"] }), csv);
    assert_eq!(spec.summary().unwrap().caveats, ["1 group (patient, lesion) is in several splits"]);
}

#[test]
fn a_split_column_is_ignored_where_another_split_is_asked_for() {
    let csv = "image,label,split\na.png,x,first half\nb.jpg,x,second half\n";
    let (_folder, spec) = with(serde_json::json!({ "split": { "random": {} } }), csv);
    assert_eq!(spec.summary().unwrap().counts, [vec![2], vec![0], vec![0]]);
    let (_folder, spec) = with(serde_json::json!({}), csv);
    let message = spec.summary().unwrap_err().to_string();
    assert!(message.contains("row 2: unknown split 'first half'"), "{message}");
}

#[test]
fn two_columns_of_one_name_are_an_error_also_where_none_is_needed() {
    let (_folder, spec) = with(serde_json::json!({}), "image,label,split,group,group\na.png,x,train,1,2\n");
    let message = spec.summary().unwrap_err().to_string();
    assert!(message.contains("row 1: column 'group' occurs twice"), "{message}");
}
