//! What enters a fingerprint: every key of every section, told by serde itself, so that a key that is added
//! later is looked at, too; and what leaves the fingerprints of a whole plan as they are.

use std::collections::BTreeSet;
use std::sync::Arc;

use medmerge::dataset::{DatasetSpec, LabelBudget, Summary};
use medmerge::experiment::{Experiment, Source};
use medmerge::identity::{Fingerprint, Numerics};
use medmerge::plan::{Plan, dataset_fingerprint, stage_fields};
use medmerge::stage::StageSpec;
use medmerge::store::Store;
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Keys that are not in the fingerprint: names of stages and data sets, paths, and what only checks a file. Ensembles
/// enter by the roles of their members.
const OUT: [&str; 37] = [
    "/cifar/path",
    "/distill/dataset",
    "/distill/from",
    "/distill/teachers",
    "/evaluate/datasets",
    "/evaluate/ensembles",
    "/evaluate/models",
    "/finetune/dataset",
    "/finetune/from",
    "/idx/path",
    "/import/path",
    "/import/pixels/max_pixels",
    "/import/sha256",
    "/learn_merge_weights/anchor",
    "/learn_merge_weights/base",
    "/learn_merge_weights/dataset",
    "/learn_merge_weights/sources",
    "/manifest/allow",
    "/manifest/class_map",
    "/manifest/columns",
    "/manifest/images",
    "/manifest/path",
    "/manifest/pixels/max_pixels",
    "/manifest/split",
    "/medmnist/path",
    "/merge/dataset",
    "/merge/method/dare/base",
    "/merge/method/iso_c/base",
    "/merge/method/learned/base",
    "/merge/method/learned/weights",
    "/merge/method/model_stock/base",
    "/merge/method/task_arithmetic/base",
    "/merge/method/ties/base",
    "/merge/method/tsv_m/base",
    "/merge/method/wise_ft/base",
    "/merge/sources",
    "/pretrain/dataset",
];

/// The words in backquotes behind `expected` in serde's message of an unknown key or value, which is `?`.
fn expected(message: &str) -> Option<Vec<String>> {
    let rest = message.split_once("`?`, ")?.1;
    Some(rest.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

/// What a value may be instead, if it is one of several words.
fn words<T: DeserializeOwned>(mut section: Value, pointer: &str) -> Vec<String> {
    *section.pointer_mut(pointer).unwrap() = json!("?");
    let message = serde_json::from_value::<T>(section).err().map(|error| error.to_string());
    message
        .filter(|message| message.starts_with("unknown variant"))
        .and_then(|m| expected(&m))
        .unwrap_or_default()
}

/// The keys that a table may have; `None` if it is no table of options.
fn keys<T: DeserializeOwned>(mut section: Value, pointer: &str) -> Option<Vec<String>> {
    section.pointer_mut(pointer)?.as_object_mut()?.insert("?".into(), json!(0));
    let message = serde_json::from_value::<T>(section).err()?.to_string();
    message.starts_with("unknown field").then(|| expected(&message))?
}

/// A section with each choice at `pointer` made in turn.
fn with_each_choice(section: &Value, pointer: &str) -> Vec<Value> {
    let choose = |choice: String| {
        let options = match choice.as_str() {
            "multi_step" => json!({ "milestones": [1, 2] }),
            "learned" => json!({ "weights": "w" }),
            _ => json!({}),
        };
        let mut section = section.clone();
        *section.pointer_mut(pointer).unwrap() = json!({ choice: options });
        section
    };
    let choices = words::<StageSpec>(section.clone(), pointer);
    assert!(choices.len() > 1, "{pointer} is a choice");
    choices.into_iter().map(choose).collect()
}

/// A section of each kind of stage, and of each choice that it can make.
fn stages() -> Vec<Value> {
    let train = json!({ "optimizer": {}, "schedule": {}, "loss": {} });
    let finetune = json!({ "finetune": { "from": "a", "dataset": "d", "train": train } });
    let pretrain = json!({ "pretrain": { "backbone": {}, "dataset": "d" } });
    let merged = json!({ "merge": { "sources": ["a", "b"], "method": {}, "dataset": "d" } });
    let import = json!({ "import": { "path": "a.pth", "backbone": { "resnet18": {} }, "sha256": "ab" } });
    let mut loose = import.clone();
    merge(&mut loose, json!({ "import": { "prefix": "net.", "allow_non_finite": true } }));
    let learn = json!({ "sources": ["a", "b"], "anchor": "a", "dataset": "d" });
    let evaluate = json!({ "evaluate": { "models": { "A": "a" }, "datasets": ["d"] } });
    let mut parts = learn.clone();
    merge(&mut parts, json!({ "norms": "anchor", "head": "new" }));
    let mut decaying = learn.clone();
    merge(&mut decaying, json!({ "decay_to_start": 2.0 }));
    let mut based = learn.clone();
    merge(&mut based, json!({ "base": "c", "start": 0.5, "head": "mean" }));
    let mut slices = learn.clone();
    merge(&mut slices, json!({ "granularity": "slice" }));
    let learn = [learn, parts, decaying, based, slices].map(|learn| json!({ "learn_merge_weights": learn }));
    let mut prepared = import.clone();
    merge(&mut prepared, json!({ "import": { "size": 224, "pixels": pixels() } }));
    let mut sections = vec![import, loose, prepared, evaluate];
    sections.extend(learn);
    sections.push(json!({ "finetune": { "from": "a", "dataset": "d", "decay_to_start": 2.0 } }));
    sections.extend(with_each_choice(&pretrain, "/pretrain/backbone"));
    sections.extend(with_each_choice(&merged, "/merge/method"));
    for choice in ["optimizer", "schedule", "loss"] {
        let mut train = train.as_object().unwrap().clone();
        train.retain(|key, _| key == choice);
        let mut finetune = finetune.clone();
        finetune["finetune"]["train"] = Value::Object(train);
        sections.extend(with_each_choice(&finetune, &format!("/finetune/train/{choice}")));
    }
    let later = json!({
        "accumulate": 2, "sampling": "balanced", "lr_backbone": 1e-4, "layer_decay": 0.75, "ema": 0.5,
    });
    let mut trained = json!({
        "finetune": { "from": "a", "dataset": "d" },
        "pretrain": { "backbone": { "resnet18": {} }, "dataset": "d" },
        "learn_merge_weights": { "sources": ["a", "b"], "anchor": "a", "dataset": "d" },
        "distill": { "from": "a", "teachers": ["b"], "dataset": "d" },
    });
    for (kind, section) in trained.as_object_mut().unwrap() {
        for train in [&later, &json!({ "epoch_images": 640 })] {
            section["train"] = train.clone();
            sections.push(json!({ kind.as_str(): section }));
        }
    }
    sections
}

/// All keys of `pixels`.
fn pixels() -> Value {
    json!({
        "crop_mode": "center", "crop_pct": 0.875, "interpolation": "bicubic", "trim_borders": true, "bits": 12,
        "window": [40.0, 80.0], "max_pixels": 1000
    })
}

/// A section of each kind of data set.
fn datasets() -> Vec<Value> {
    let pixels = pixels();
    let mut sections = vec![
        json!({ "phantom": { "family": "cells" } }),
        json!({ "manifest": { "path": "a.csv", "images": "a", "size": 28 } }),
        json!({ "manifest": { "path": "a.csv", "images": "a", "size": 28, "pixels": pixels } }),
        json!({ "medmnist": { "path": "a", "set": "bloodmnist" } }),
    ];
    sections.extend(["medmnist", "idx", "cifar"].map(|kind| json!({ kind: { "path": "a" } })));
    let kept = json!({ "path": "a.csv", "images": "a", "size": 28, "cache_size": 32 });
    sections.push(json!({ "manifest": kept }));
    sections
}

/// A section as it was read, its defaults written out.
fn whole<T: Serialize + DeserializeOwned>(section: &Value) -> (T, Value) {
    let spec: T =
        serde_json::from_value(section.clone()).unwrap_or_else(|error| panic!("{error}: {section}"));
    let mut whole = section.clone();
    merge(&mut whole, serde_json::to_value(&spec).unwrap());
    (spec, whole)
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, from) => *into = from,
    }
}

/// Pointers of a value and of all that it holds in objects.
fn pointers(value: &Value, pointer: &str) -> Vec<String> {
    let inside = value.as_object().into_iter().flatten();
    let inside = inside.flat_map(|(key, value)| pointers(value, &format!("{pointer}/{key}")));
    std::iter::once(pointer.to_owned()).chain(inside).collect()
}

/// Pointers of what is no table.
fn leaves(value: &Value) -> Vec<String> {
    let is_leaf = |pointer: &String| !value.pointer(pointer).unwrap().is_object();
    pointers(value, "").into_iter().filter(is_leaf).collect()
}

/// The keys that sections may have and that do not enter the fingerprint.
fn left_out<T: Serialize + DeserializeOwned>(
    sections: &[Value],
    options: impl Fn(&T) -> Value,
) -> BTreeSet<String> {
    let (mut left_out, mut held) = (BTreeSet::new(), BTreeSet::new());
    for section in sections {
        let (spec, whole) = whole::<T>(section);
        let options = options(&spec);
        for pointer in pointers(&whole, "") {
            let keys = keys::<T>(whole.clone(), &pointer).unwrap_or_default();
            let pointers = keys.into_iter().map(|key| format!("{pointer}/{key}"));
            let (out, into): (Vec<_>, Vec<_>) =
                pointers.partition(|pointer| options.pointer(pointer).is_none());
            left_out.extend(out);
            held.extend(into);
        }
    }
    // Options that are written where they are not the default are in.
    left_out.difference(&held).cloned().collect()
}

#[test]
fn every_key_is_in_the_fingerprint_unless_it_is_a_name_or_a_path() {
    let mut found = left_out(&stages(), StageSpec::tagged_options);
    found.extend(left_out(&datasets(), DatasetSpec::tagged_options));
    assert_eq!(found.into_iter().collect::<Vec<_>>(), OUT);
}

/// All that differ from a section in one value, with where that stands.
fn changes<T: Serialize + DeserializeOwned>(section: &Value) -> Vec<(String, T)> {
    let (_, whole) = whole::<T>(section);
    let mut changes = Vec::new();
    for pointer in leaves(&whole) {
        let mut others: Vec<Value> =
            words::<T>(whole.clone(), &pointer).into_iter().map(Value::from).collect();
        others.extend([json!(null), json!(true), json!(false), json!(3), json!(0.25), json!("x")]);
        others.extend([json!([0.5, 0.25]), json!([0.5, 0.25, 0.75]), json!([2, 3]), json!(["x", "y"])]);
        others.extend([json!({ "keep": ["x"] }), json!([{ "horizontal_flip": {} }])]);
        for other in others {
            let mut changed = whole.clone();
            *changed.pointer_mut(&pointer).unwrap() = other;
            changes.extend(serde_json::from_value(changed).ok().map(|spec| (pointer.clone(), spec)));
        }
    }
    changes
}

/// Whether a key, or one above it, is not in the fingerprint.
fn is_out(pointer: &str) -> bool {
    OUT.iter()
        .any(|out| pointer.strip_prefix(out).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Whether the fingerprint changes with each value, as far as it should.
fn check_changes<T>(sections: &[Value], fingerprint: impl Fn(&T) -> Fingerprint)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    for section in sections {
        let (spec, whole) = whole::<T>(section);
        let mut changed = BTreeSet::new();
        for (pointer, other) in changes::<T>(section).into_iter().filter(|(_, other)| *other != spec) {
            let same = fingerprint(&spec) == fingerprint(&other);
            assert_eq!(same, is_out(&pointer), "{pointer}: {spec:?} and {other:?}");
            changed.insert(pointer);
        }
        let unchanged: Vec<_> = leaves(&whole).into_iter().filter(|leaf| !changed.contains(leaf)).collect();
        assert_eq!(unchanged, [""; 0], "no other value was found for these");
    }
}

fn of_stage(spec: &StageSpec) -> Fingerprint {
    Fingerprint::of(&stage_fields(spec, &[], &[], &[], Numerics::Cpu))
}

fn of_dataset(spec: &DatasetSpec) -> Fingerprint {
    of_budget(spec, LabelBudget::default(), None)
}

fn of_budget(
    spec: &DatasetSpec,
    labels: LabelBudget,
    train_groups: Option<Vec<Vec<(u32, u32)>>>,
) -> Fingerprint {
    let summary = Summary {
        classes: vec!["well".into(), "sick".into()],
        counts: [vec![3, 4], vec![1, 1], vec![2, 2]],
        digest: "cd".repeat(32),
        warnings: Vec::new(),
        caveats: Vec::new(),
        multi_label: None,
        train_groups,
    };
    dataset_fingerprint(spec, labels, &summary)
}

#[test]
fn a_change_of_any_value_changes_the_fingerprint_unless_it_is_a_name_or_a_path() {
    let kept =
        json!({ "import": { "path": "a", "backbone": { "resnet18": {} }, "head": { "keep": ["well"] } } });
    check_changes(&[kept], of_stage);
    check_changes(&stages(), of_stage);
    check_changes(&datasets(), of_dataset);
}

/// Golden numbers, as in `plan`: whoever changes how a spec is written changes these, and with them everything
/// that anyone has in a store.
#[test]
fn the_fingerprint_of_every_choice_is_what_it_was() {
    let stages = stages().into_iter().map(|section| {
        let spec: StageSpec = whole(&section).0;
        (section, spec.revision(), of_stage(&spec))
    });
    let datasets = datasets().into_iter().map(|section| {
        let spec: DatasetSpec = whole(&section).0;
        (section, spec.revision(), of_dataset(&spec))
    });
    let line = |(section, revision, fingerprint): (Value, u32, Fingerprint)| {
        format!("{} {revision} {section}", fingerprint.short())
    };
    let lines: Vec<String> = stages.chain(datasets).map(line).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    dec52c5c4515 1 {"import":{"path":"a.pth","backbone":{"resnet18":{}},"sha256":"ab"}}
    5880682379af 1 {"import":{"path":"a.pth","backbone":{"resnet18":{}},"sha256":"ab","prefix":"net.","allow_non_finite":true}}
    fc378f777b5c 1 {"import":{"path":"a.pth","backbone":{"resnet18":{}},"sha256":"ab","size":224,"pixels":{"crop_mode":"center","crop_pct":0.875,"interpolation":"bicubic","trim_borders":true,"bits":12,"window":[40.0,80.0],"max_pixels":1000}}}
    9506acf19c5c 1 {"evaluate":{"models":{"A":"a"},"datasets":["d"]}}
    17e5d7b03d76 1 {"learn_merge_weights":{"sources":["a","b"],"anchor":"a","dataset":"d"}}
    ef7cef855256 1 {"learn_merge_weights":{"sources":["a","b"],"anchor":"a","dataset":"d","norms":"anchor","head":"new"}}
    da0d22448a51 1 {"learn_merge_weights":{"sources":["a","b"],"anchor":"a","dataset":"d","decay_to_start":2.0}}
    39e3ecd4a840 1 {"learn_merge_weights":{"sources":["a","b"],"anchor":"a","dataset":"d","base":"c","start":0.5,"head":"mean"}}
    c0afaa622f8b 1 {"learn_merge_weights":{"sources":["a","b"],"anchor":"a","dataset":"d","granularity":"slice"}}
    d91a567c2949 1 {"finetune":{"from":"a","dataset":"d","decay_to_start":2.0}}
    59c0b3ed6dbf 1 {"pretrain":{"backbone":{"resnet18":{}},"dataset":"d"}}
    13ec69229c6d 1 {"pretrain":{"backbone":{"resnet34":{}},"dataset":"d"}}
    2f7848e4fc52 1 {"pretrain":{"backbone":{"resnet50":{}},"dataset":"d"}}
    12fdf10df12d 1 {"pretrain":{"backbone":{"resnet101":{}},"dataset":"d"}}
    87c749eba984 1 {"pretrain":{"backbone":{"densenet121":{}},"dataset":"d"}}
    52aee50d283e 1 {"pretrain":{"backbone":{"vit_tiny":{}},"dataset":"d"}}
    8014689ca7ec 1 {"pretrain":{"backbone":{"vit_small":{}},"dataset":"d"}}
    481e5de682c7 1 {"pretrain":{"backbone":{"vit_base":{}},"dataset":"d"}}
    4c1dd656b745 1 {"pretrain":{"backbone":{"deit_small":{}},"dataset":"d"}}
    c7775af18063 1 {"pretrain":{"backbone":{"deit_base":{}},"dataset":"d"}}
    91b873ad5fc9 1 {"merge":{"sources":["a","b"],"method":{"average":{}},"dataset":"d"}}
    4498bf2b64f4 1 {"merge":{"sources":["a","b"],"method":{"uniform_soup":{}},"dataset":"d"}}
    94c03e52dbbf 1 {"merge":{"sources":["a","b"],"method":{"wise_ft":{}},"dataset":"d"}}
    0390a62ce94e 1 {"merge":{"sources":["a","b"],"method":{"task_arithmetic":{}},"dataset":"d"}}
    786cc2a70766 1 {"merge":{"sources":["a","b"],"method":{"ties":{}},"dataset":"d"}}
    6afd1ec84664 1 {"merge":{"sources":["a","b"],"method":{"dare":{}},"dataset":"d"}}
    7f804990c038 1 {"merge":{"sources":["a","b"],"method":{"slerp":{}},"dataset":"d"}}
    34476a4dc91e 1 {"merge":{"sources":["a","b"],"method":{"model_stock":{}},"dataset":"d"}}
    d1f04ad276e0 1 {"merge":{"sources":["a","b"],"method":{"tsv_m":{}},"dataset":"d"}}
    4414a71d6957 1 {"merge":{"sources":["a","b"],"method":{"iso_c":{}},"dataset":"d"}}
    d192abcb5db7 1 {"merge":{"sources":["a","b"],"method":{"git_rebasin":{}},"dataset":"d"}}
    12eb299a6e83 1 {"merge":{"sources":["a","b"],"method":{"glmc":{}},"dataset":"d"}}
    dd000e1dd7d8 1 {"merge":{"sources":["a","b"],"method":{"learned":{"weights":"w"}},"dataset":"d"}}
    dc754f6682ec 1 {"merge":{"sources":["a","b"],"method":{"greedy_soup":{}},"dataset":"d"}}
    ed3224262564 1 {"merge":{"sources":["a","b"],"method":{"fisher":{}},"dataset":"d"}}
    471ad2abf467 1 {"merge":{"sources":["a","b"],"method":{"regmean":{}},"dataset":"d"}}
    e3c60d63c1f3 1 {"merge":{"sources":["a","b"],"method":{"zipit":{}},"dataset":"d"}}
    0e23577bd865 1 {"merge":{"sources":["a","b"],"method":{"pleas":{}},"dataset":"d"}}
    deb4087d5dd5 1 {"finetune":{"from":"a","dataset":"d","train":{"optimizer":{"adamw":{}}}}}
    4f319c9d86d5 1 {"finetune":{"from":"a","dataset":"d","train":{"optimizer":{"adam":{}}}}}
    589ab0d6f9d0 1 {"finetune":{"from":"a","dataset":"d","train":{"optimizer":{"sgd":{}}}}}
    a1337c73291c 1 {"finetune":{"from":"a","dataset":"d","train":{"schedule":{"constant":{}}}}}
    deb4087d5dd5 1 {"finetune":{"from":"a","dataset":"d","train":{"schedule":{"cosine":{}}}}}
    9ffae6493d71 1 {"finetune":{"from":"a","dataset":"d","train":{"schedule":{"multi_step":{"milestones":[1,2]}}}}}
    e66a8ea58f23 1 {"finetune":{"from":"a","dataset":"d","train":{"schedule":{"one_cycle":{}}}}}
    deb4087d5dd5 1 {"finetune":{"from":"a","dataset":"d","train":{"loss":{"cross_entropy":{}}}}}
    2a7de804dee0 1 {"finetune":{"from":"a","dataset":"d","train":{"loss":{"binary_cross_entropy":{}}}}}
    f9098d3e7136 1 {"finetune":{"from":"a","dataset":"d","train":{"loss":{"entropy":{}}}}}
    1172eaa540a3 1 {"finetune":{"from":"a","dataset":"d","train":{"accumulate":2,"sampling":"balanced","lr_backbone":0.0001,"layer_decay":0.75,"ema":0.5}}}
    31b7272af139 1 {"finetune":{"from":"a","dataset":"d","train":{"epoch_images":640}}}
    8422653146e2 1 {"pretrain":{"backbone":{"resnet18":{}},"dataset":"d","train":{"accumulate":2,"sampling":"balanced","lr_backbone":0.0001,"layer_decay":0.75,"ema":0.5}}}
    646fadd3f028 1 {"pretrain":{"backbone":{"resnet18":{}},"dataset":"d","train":{"epoch_images":640}}}
    dbe2fcbf498c 1 {"learn_merge_weights":{"sources":["a","b"],"anchor":"a","dataset":"d","train":{"accumulate":2,"sampling":"balanced","lr_backbone":0.0001,"layer_decay":0.75,"ema":0.5}}}
    5beb7952f47a 1 {"learn_merge_weights":{"sources":["a","b"],"anchor":"a","dataset":"d","train":{"epoch_images":640}}}
    dd470e5feccd 1 {"distill":{"from":"a","teachers":["b"],"dataset":"d","train":{"accumulate":2,"sampling":"balanced","lr_backbone":0.0001,"layer_decay":0.75,"ema":0.5}}}
    05f9c70371a4 1 {"distill":{"from":"a","teachers":["b"],"dataset":"d","train":{"epoch_images":640}}}
    629af4e4d888 1 {"phantom":{"family":"cells"}}
    eaaede02d4fc 2 {"manifest":{"path":"a.csv","images":"a","size":28}}
    5426848be7fc 2 {"manifest":{"path":"a.csv","images":"a","size":28,"pixels":{"crop_mode":"center","crop_pct":0.875,"interpolation":"bicubic","trim_borders":true,"bits":12,"window":[40.0,80.0],"max_pixels":1000}}}
    cdfe2adda734 1 {"medmnist":{"path":"a","set":"bloodmnist"}}
    9202c7a7a57a 1 {"medmnist":{"path":"a"}}
    15c430c6b413 2 {"idx":{"path":"a"}}
    f2463274ee23 2 {"cifar":{"path":"a"}}
    cc0604bc66c9 2 {"manifest":{"path":"a.csv","images":"a","size":28,"cache_size":32}}
    "#);
}

/// Golden numbers as above, of one data set without and with groups.
#[test]
fn the_fingerprint_of_every_label_budget_is_what_it_was() {
    let spec: DatasetSpec = whole(&json!({ "phantom": { "family": "cells" } })).0;
    let groups = || Some(vec![vec![(0, 0), (1, 0)], vec![(2, 1)]]);
    for (budget, golden) in [
        (json!({ "label_fraction": 0.5, "label_seed": 3 }), ["83732dd5eb2f", "13f8d9e926db"]),
        (json!({ "label_count": 50 }), ["2d0e7f511759", "be952b5cd96b"]),
        (json!({ "val_count": 20 }), ["51294c655931", "28976f2744f2"]),
        (json!({ "label_count": 50, "val_count": 20 }), ["01da3af056e8", "ae40b99ef7ac"]),
    ] {
        let labels: LabelBudget = serde_json::from_value(budget).unwrap();
        let found = [None, groups()].map(|groups| of_budget(&spec, labels, groups).short());
        assert_eq!(found, golden, "{labels:?}");
    }
}

#[test]
fn no_two_choices_have_one_fingerprint() {
    let stages: Vec<_> = stages().iter().map(|section| of_stage(&whole(section).0)).collect();
    let datasets: Vec<_> = datasets().iter().map(|section| of_dataset(&whole(section).0)).collect();
    let all = [stages, datasets].concat();
    // `optimizer.adamw`, `schedule.cosine` and `loss.cross_entropy` are the defaults: one finetune stage
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len() - 2);
}

/// An experiment with a name for each stage and data set, its sections in an order, a comment before each.
fn text(names: &[String], order: &[u32], comment: &str, sources: &str) -> String {
    let [cells, xray, a, b, c, merged, scores] = names else { panic!("seven names") };
    let train = "[train]\nepochs = 2\noptimizer.adamw = { lr = 0.5, eps = 0.25 }".to_owned();
    let source = |name: &str, seed: usize| {
        format!(
            "[stage.{name}.pretrain]\nbackbone.resnet18 = {{ width = 4 }}\ndataset = \"{cells}\"\nseed = {seed}"
        )
    };
    let sections = [
        format!("[experiment]\nname = \"{scores}\"\ndescription = \"{comment}\""),
        format!("[dataset.{cells}.phantom]\nfamily = \"cells\"\ntrain = 16"),
        format!("[dataset.{xray}.phantom]\ntrain = 16\nfamily = \"xray\""),
        train,
        source(a, 1),
        source(b, 2),
        source(c, 3),
        format!(
            "[stage.{merged}.merge]\nsources = [{}]\nmethod = \"average\"\ndataset = \"{xray}\"",
            sources.replace('a', a).replace('b', b).replace('c', c)
        ),
        format!("[stage.{scores}.evaluate]\nmodels = {{ \"{merged}\" = \"{a}\" }}\ndatasets = [\"{cells}\"]"),
    ];
    let mut sections: Vec<_> = order.iter().zip(sections).collect();
    sections.sort();
    sections.into_iter().map(|(_, section)| format!("# {comment}\n{section}\n\n")).collect()
}

/// The fingerprints of an experiment's stages.
fn fingerprints(text: String, threads: usize) -> BTreeSet<Fingerprint> {
    let source = Source::new("experiment.toml", text);
    let experiment = Experiment::parse(source).unwrap_or_else(|errors| panic!("{errors}"));
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let plan = pool.install(|| Plan::new(Arc::new(experiment), &store, Numerics::Cpu)).unwrap();
    plan.stages().map(|stage| stage.fingerprint).collect()
}

const SOURCES: &str = "'a', 'b', 'c'";

/// Names that cannot be mistaken for a part of [`SOURCES`].
fn plain_names() -> Vec<String> {
    ["1", "2", "3", "4", "5", "6", "7"].map(str::to_owned).into()
}

/// No files beside the tests: a failing case is printed.
fn cases(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(cases(30))]

    #[test]
    fn names_comments_order_and_threads_are_not_in_any_fingerprint(
        names in prop::collection::btree_set("[0-9A-Z_-]{1,9}", 7),
        order in prop::collection::vec(any::<u32>(), 9),
        comment in "[a-z #=]{0,20}",
        threads in 1..4_usize,
    ) {
        let names: Vec<String> = names.into_iter().collect();
        let changed = fingerprints(text(&names, &order, &comment, SOURCES), threads);
        prop_assert_eq!(changed.len(), 5);
        prop_assert_eq!(changed, fingerprints(text(&plain_names(), &[0; 9], "", SOURCES), 1));
    }

    #[test]
    fn sources_in_another_order_are_other_work(order in Just(["'a'", "'b'", "'c'"]).prop_shuffle()) {
        let of = |sources: &str| fingerprints(text(&plain_names(), &[0; 9], "", sources), 1);
        let same = order.join(", ") == SOURCES;
        prop_assert_eq!(of(&order.join(", ")) == of(SOURCES), same);
    }
}
