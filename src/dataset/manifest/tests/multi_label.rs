//! Several classes per image.

use super::*;

/// The classes, and the labels of the training images.
fn multi_label(csv: &str, keys: serde_json::Value) -> Result<(Vec<String>, Vec<String>), String> {
    let folder = images();
    let path = folder.path().join("labels.csv");
    std::fs::write(&path, csv).unwrap();
    let mut json = serde_json::json!({ "path": path, "size": 4, "split": { "official": {} } });
    json.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let spec: ManifestSpec = serde_json::from_value(json).unwrap();
    let data = spec.load(None).map_err(|error| error.to_string())?;
    Ok((data.classes, data.train.labels.texts()))
}

fn texts(classes: &[&str], labels: &[&str]) -> (Vec<String>, Vec<String>) {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    (owned(classes), owned(labels))
}

const LISTS: &str = "image,label,split\na.png,mass | edema,train\nb.jpg,,train\nc.png,edema,train\n";

#[test]
fn several_classes_may_be_in_one_column() {
    let read = |keys: serde_json::Value| {
        let mut all = serde_json::json!({ "columns": { "separator": "|" } });
        all.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        multi_label(LISTS, all)
    };
    assert_eq!(read(serde_json::json!({})).unwrap(), texts(&["edema", "mass"], &["11", "00", "10"]));
    let order = serde_json::json!({ "classes": ["mass", "edema", "hernia"] });
    assert_eq!(read(order).unwrap(), texts(&["mass", "edema", "hernia"], &["110", "000", "010"]));
    let map = serde_json::json!({ "class_map": { "mass": "nodule", "edema": "" } });
    assert_eq!(read(map).unwrap(), texts(&["nodule"], &["1", "0", "0"]));
    let message = read(serde_json::json!({ "classes": ["mass"] })).unwrap_err();
    assert!(message.contains("row 2: label 'edema' is not in `classes` (mass)"), "{message}");
}

#[test]
fn several_classes_may_be_in_columns_where_blank_is_unknown() {
    let csv = "image,mass,edema,fluid,split\na.png,1,0,,train\nb.jpg,0.0,1.0,1,train\nc.png,,-1,-1,train\n";
    let block = serde_json::json!(["mass", "edema", "fluid"]);
    let read = |map: serde_json::Value| {
        multi_label(csv, serde_json::json!({ "columns": { "multi_hot": block }, "class_map": map }))
    };
    assert_eq!(
        read(serde_json::json!({})).unwrap(),
        texts(&["mass", "edema", "fluid"], &["10?", "011", "???"])
    );
    let merged = serde_json::json!({ "fluid": "edema" });
    assert_eq!(read(merged).unwrap(), texts(&["mass", "edema"], &["1?", "01", "??"]));
    let wrong = csv.replace("0.0,1.0", "0.5,1.0");
    let message = multi_label(&wrong, serde_json::json!({ "columns": { "multi_hot": block } })).unwrap_err();
    assert!(message.contains("row 3: 'mass' is '0.5'; it must be 1, 0, -1 or blank"), "{message}");
}

#[test]
fn the_digest_of_several_labels_depends_on_them_and_on_the_classes() {
    let folder = images();
    let digest = |csv: &str, columns: serde_json::Value| {
        let mut spec = spec(&folder, csv);
        spec.columns = serde_json::from_value(columns).unwrap();
        spec.summary().unwrap().digest
    };
    let list = || serde_json::json!({ "separator": "|" });
    let first = digest(LISTS, list());
    assert_eq!(digest(&LISTS.replace("mass | edema", "edema|mass"), list()), first);
    assert_ne!(digest(&LISTS.replace("c.png,edema", "c.png,"), list()), first);
    assert_ne!(digest(&LISTS.replace("mass", "nodule"), list()), first);
}

#[test]
fn ways_to_label_exclude_each_other() {
    let folder = images();
    let problems = |columns: serde_json::Value| {
        let mut spec = spec(&folder, CSV);
        spec.columns = serde_json::from_value(columns).unwrap();
        let mut problems = Problems::default();
        spec.validate_own(&mut problems);
        problems.into_list().into_iter().map(|problem| problem.message).collect::<Vec<_>>()
    };
    let (hot, both) = (serde_json::json!(["a"]), serde_json::json!({ "one_hot": ["a"], "multi_hot": ["a"] }));
    assert_eq!(problems(both), ["`one_hot` and `multi_hot` exclude each other"]);
    assert_eq!(
        problems(serde_json::json!({ "multi_hot": hot, "label": "b", "separator": "|" })),
        ["`label` and `multi_hot` exclude each other", "`separator` and `multi_hot` exclude each other"]
    );
    assert_eq!(problems(serde_json::json!({ "separator": " " })), ["`separator` is blank"]);
    assert_eq!(problems(serde_json::json!({ "label": "b", "separator": ";" })), [""; 0]);
}
