use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::image_files::listing::Place;

/// One image per class and group, named by its position.
fn images(labels: &[(&str, Option<usize>)]) -> Vec<Listed> {
    let list: Arc<Path> = Path::new("set").into();
    let listed = |(i, (label, group)): (usize, &(&str, Option<usize>))| Listed {
        name: format!("{i:04}.png"),
        file: format!("{i:04}.png").into(),
        label: (*label).into(),
        group: group.map(|group| group.to_string()),
        split: None,
        place: Place::folder(&list),
    };
    labels.iter().enumerate().map(listed).collect()
}

fn splits(spec: serde_json::Value, images: &[Listed]) -> Vec<SplitName> {
    let spec: SplitSpec = serde_json::from_value(spec).unwrap();
    let splits = spec.assign(Path::new("set"), images).unwrap();
    splits.into_iter().map(Option::unwrap).collect()
}

fn count(images: &[Listed], splits: &[SplitName], label: &str) -> [usize; 3] {
    let of = |split| {
        images.iter().zip(splits).filter(|(image, s)| image.label.text() == label && **s == split).count()
    };
    SplitName::ALL.map(of)
}

#[test]
fn without_groups_every_class_is_split_exactly() {
    let labels: Vec<_> = (0..100).map(|i| (if i % 4 == 0 { "rare" } else { "common" }, None)).collect();
    let images = images(&labels);
    let splits = |seed| splits(json!({ "random": { "val": 0.12, "test": 0.2, "seed": seed } }), &images);
    let first = splits(0);
    assert_eq!(count(&images, &first, "rare"), [17, 3, 5]);
    assert_eq!(count(&images, &first, "common"), [51, 9, 15]);
    assert_eq!(splits(0), first);
    assert_ne!(splits(1), first);
}

#[test]
fn every_image_is_a_test_image_of_one_fold() {
    let labels: Vec<_> = (0..43).map(|i| (if i % 5 == 0 { "a" } else { "b" }, Some(i / 2))).collect();
    let images = images(&labels);
    let mut tested = vec![0; images.len()];
    for fold in 0..4 {
        let splits = splits(json!({ "folds": { "folds": 4, "fold": fold, "val": 0.2 } }), &images);
        let [train, val, test] = SplitName::ALL.map(|split| splits.iter().filter(|s| **s == split).count());
        assert!((9..=13).contains(&test) && (4..=9).contains(&val) && train > 20, "{train} {val} {test}");
        for (count, split) in tested.iter_mut().zip(&splits) {
            *count += usize::from(*split == SplitName::Test);
        }
    }
    assert_eq!(tested, vec![1; images.len()]);
}

#[test]
fn the_official_split_is_kept_and_may_set_validation_images_aside() {
    let mut images = images(&[("a", None); 20]);
    images.iter_mut().for_each(|image| image.split = Some(SplitName::Train));
    images[3].split = Some(SplitName::Test);
    assert_eq!(count(&images, &splits(json!({ "official": {} }), &images), "a"), [19, 0, 1]);
    assert_eq!(count(&images, &splits(json!({ "official": { "val": 0.1 } }), &images), "a"), [17, 2, 1]);
    images[4].split = Some(SplitName::Val);
    let spec: SplitSpec = serde_json::from_value(json!({ "official": { "val": 0.1 } })).unwrap();
    let message = spec.assign(Path::new("set"), &images).unwrap_err().to_string();
    assert!(message.contains("states its validation images; remove `val`"), "{message}");
    images[5].split = None;
    let message = SplitSpec::default().assign(Path::new("set"), &images).unwrap_err().to_string();
    assert!(message.contains("image '0005.png' has no split; set `split`"), "{message}");
}

fn of_file(content: &str) -> Result<Vec<Option<SplitName>>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("splits.csv");
    std::fs::write(&path, content).unwrap();
    let mut images = images(&[("a", None); 4]);
    images[2].name = "below/x.jpg".into();
    images[3].name = "above/x.jpg".into();
    let spec: SplitSpec = serde_json::from_value(json!({ "file": { "path": path } })).unwrap();
    spec.assign(Path::new("set"), &images).map_err(|error| error.to_string())
}

#[test]
fn a_file_names_images_by_path_file_or_stem_and_leaves_the_others_out() {
    use SplitName::{Test, Train, Val};
    assert_eq!(
        of_file("split;image\ntest;0001\ntrain;0000.png\nval;below/x.jpg\n").unwrap(),
        [Some(Train), Some(Test), Some(Val), None]
    );
    let error = |content: &str| of_file(content).unwrap_err();
    assert!(
        error("image,split\nx.jpg,val\n")
            .contains("row 2: image 'x.jpg' is the name of several images in set")
    );
    assert!(error("image,split\n9,val\n").contains("row 2: image '9' is not in set"));
    assert!(
        error("image,split\n0000,val\n0000.png,test\n").contains("row 3: image '0000.png' is listed twice")
    );
    assert!(error("image,split\n0000,other\n").contains("row 2: unknown split 'other'"));
    assert!(error("image,part\n0000,val\n").contains("row 1: column 'split' is missing"));
}

proptest! {
    #[test]
    fn groups_stay_together_and_shares_are_near(
        sizes in proptest::collection::vec((1usize..5, 0usize..3), 30..80),
        seed in 0u64..1000,
    ) {
        let mut labels = Vec::new();
        for (group, (size, label)) in sizes.iter().enumerate() {
            labels.extend((0..*size).map(|_| (["a", "b", "c"][*label], Some(group))));
        }
        let images = images(&labels);
        let splits = splits(json!({ "random": { "val": 0.15, "test": 0.25, "seed": seed } }), &images);
        let mut of_group: BTreeMap<&str, BTreeSet<SplitName>> = BTreeMap::new();
        for (image, split) in images.iter().zip(&splits) {
            of_group.entry(image.group.as_deref().unwrap()).or_default().insert(*split);
        }
        prop_assert!(of_group.values().all(|splits| splits.len() == 1));
        for label in ["a", "b", "c"] {
            let [train, val, test] = count(&images, &splits, label);
            let all = (train + val + test) as f64;
            prop_assert!((test as f64 - 0.25 * all).abs() <= 4.0, "{label}: {test} of {all}");
            prop_assert!((val as f64 - 0.15 * all).abs() <= 4.0, "{label}: {val} of {all}");
        }
    }
}
