//! `medmerge merge`: files in, one file out, the same as the stage makes.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use medmerge::nn::StateDict;
use medmerge::store::checkpoint;
use predicates::prelude::*;
use predicates::str::contains;

use crate::builder::Workplace;

/// A small network of no known architecture: a kernel, a norm, a classifier for so many classes.
fn model(factor: f32, classes: usize) -> StateDict {
    let numbers = |len: usize| (0..len).map(move |i| factor * (i as f32 + 1.0)).collect::<Vec<f32>>();
    let tensor = |shape: &[usize]| {
        Tensor::from_vec(numbers(shape.iter().product()), shape, &Device::Cpu).expect("a tensor")
    };
    StateDict::from([
        ("conv1.weight".into(), tensor(&[2, 3, 1, 1])),
        ("bn1.running_var".into(), tensor(&[2])),
        ("bn1.num_batches_tracked".into(), Tensor::new(factor as i64, &Device::Cpu).expect("a tensor")),
        ("fc.weight".into(), tensor(&[classes, 2])),
    ])
}

/// Files of sources 1 and 3 and their start 0 (times the same numbers), one of another classifier, and one in halves.
fn workplace() -> Workplace {
    let workplace = Workplace::new("").with("text.safetensors", "not tensors");
    let save = |name: &str, tensors: &StateDict| {
        checkpoint::save(tensors, HashMap::new(), &workplace.path(name)).expect("a file");
    };
    save("start.safetensors", &model(0.0, 2));
    save("a.safetensors", &model(1.0, 2));
    save("b.safetensors", &model(3.0, 2));
    save("other.safetensors", &model(3.0, 5));
    save("alien.safetensors", &StateDict::from([("w".into(), Tensor::new(&[1f32], &Device::Cpu).unwrap())]));
    let half = Tensor::new(&[1f32], &Device::Cpu).unwrap().to_dtype(DType::F16).unwrap();
    candle_core::safetensors::save(&HashMap::from([("w", half)]), workplace.path("half.safetensors"))
        .unwrap();
    workplace
}

fn tensors(path: &Path) -> StateDict {
    checkpoint::load(path).expect("a checkpoint").0
}

/// Names, and bits of all numbers.
fn bits(tensors: &StateDict) -> Vec<(String, Vec<u64>)> {
    let numbers =
        |tensor: &Tensor| tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>();
    let bits = |tensor| numbers(tensor).unwrap().into_iter().map(f64::to_bits).collect();
    tensors.iter().map(|(name, tensor)| (name.clone(), bits(tensor))).collect()
}

#[test]
fn files_of_anyone_are_merged_and_say_where_they_come_from() {
    let workplace = workplace();
    let merge = ["merge", "a.safetensors", "b.safetensors", "--out", "m.safetensors"];
    let told = "m.safetensors: 4 tensors of 2 models, merged by average\n";
    workplace.medmerge(&merge).assert().code(0).stdout(told);
    let mut expected = model(2.0, 2);
    expected.insert("bn1.num_batches_tracked".into(), Tensor::new(1i64, &Device::Cpu).unwrap());
    assert_eq!(bits(&tensors(&workplace.path("m.safetensors"))), bits(&expected));

    let metadata = checkpoint::load(&workplace.path("m.safetensors")).unwrap().1;
    let provenance: serde_json::Value = serde_json::from_str(&metadata[checkpoint::KEY]).unwrap();
    assert_eq!(provenance["method"], serde_json::json!({ "average": { "weights": null } }));
    let digest = blake3::hash(&std::fs::read(workplace.path("b.safetensors")).unwrap()).to_hex().to_string();
    assert_eq!(provenance["blake3"]["source.1"], digest.as_str());
    assert!(provenance.get("info").is_none());
    workplace
        .medmerge(&["show", "m.safetensors"])
        .assert()
        .code(0)
        .stdout(contains(digest).and(contains("made by `medmerge merge`")));
}

#[test]
fn a_file_is_replaced_by_force_alone_and_may_be_one_of_the_sources() {
    let workplace = workplace();
    let merge = ["merge", "a.safetensors", "b.safetensors", "--out", "a.safetensors"];
    let refused = contains("a.safetensors already exists; choose another --out, or replace it with --force");
    workplace.medmerge(&merge).assert().code(2).stderr(refused);
    assert_eq!(bits(&tensors(&workplace.path("a.safetensors"))), bits(&model(1.0, 2)));
    workplace.medmerge(&merge).arg("--force").assert().code(0);
    assert_eq!(bits(&tensors(&workplace.path("a.safetensors")))[1].1, bits(&model(2.0, 2))[1].1);
    let left = std::fs::read_dir(workplace.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().ends_with(".tmp")), "nothing is left beside");
}

#[test]
fn one_thread_and_two_write_the_same_bytes() {
    let workplace = workplace();
    let written = |threads: &str| {
        let arguments = ["merge", "a.safetensors", "b.safetensors", "--base", "start.safetensors", "--force"];
        let mut command = workplace.medmerge(&arguments);
        command.args(["--method", "dare.drop=0.5", "--out", "m.safetensors", "--threads", threads]);
        command.assert().code(0);
        std::fs::read(workplace.path("m.safetensors")).unwrap()
    };
    assert_eq!(written("1"), written("2"));
}

#[test]
fn what_not_all_files_have_is_left_out_if_asked() {
    let workplace = workplace();
    let merge =
        ["merge", "a.safetensors", "other.safetensors", "--skip-mismatched", "--out", "m.safetensors"];
    let told = contains("3 tensors of 2 models").and(contains("left out 1: fc.weight\n"));
    workplace.medmerge(&merge).assert().code(0).stdout(told);
    assert_eq!(tensors(&workplace.path("m.safetensors")).len(), 3);
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    let workplace = workplace().with("folder/x", "");
    let (a, b, start) = ("a.safetensors", "b.safetensors", "start.safetensors");
    let mut told = String::new();
    for arguments in [
        &[a, b, "--method", "ties"][..],
        &[a, b, "--method", "ties = { density = 2, densty = 0.2 }", "--base", start],
        &[a, b, "--method", "ties.base = 'start'", "--base", start],
        &[a, b, "--method", "avrage"],
        &[a, b, "--method", "average.weights = [1, 2, 3]"],
        &[a, b, "--method", "learned"],
        &[a, b, "--base", start],
        &[a, "--method", "average"],
        &[a, b, a, "--method", "slerp"],
        &[a, "other.safetensors"],
        &[a, b, "--base", "other.safetensors", "--method", "wise_ft"],
        &[a, "alien.safetensors", "--skip-mismatched"],
        &[a, "absent.safetensors"],
        &[a, "text.safetensors"],
        &[a, "half.safetensors"],
        &[a, b, "--out", "absent/m.safetensors"],
    ] {
        let out = if arguments.contains(&"--out") { &[][..] } else { &["--out", "m.safetensors"] };
        let output = workplace.medmerge(&["merge"]).args(arguments).args(out).output().expect("an end");
        assert!(output.stdout.is_empty() && !workplace.path("m.safetensors").exists());
        let (code, stderr) = (output.status.code(), String::from_utf8_lossy(&output.stderr));
        told += &format!("{}\nexit code {}\n{stderr}\n", arguments.join(" "), code.unwrap_or(-1));
    }
    insta::assert_snapshot!(told);
}

/// Two models of one start, and each formula as a stage.
const EXPERIMENT: &str = r#"
[experiment]
name = "formulas"
[dataset.cells.phantom]
family = "cells"
size = 12
train = 16
val = 8
test = 8
[train]
epochs = 1
batch_size = 8
[stage.start.pretrain]
backbone.resnet18 = { stem = "small", width = 4 }
dataset = "cells"
[stage.one.finetune]
from = "start"
dataset = "cells"
seed = 1
[stage.two.finetune]
from = "start"
dataset = "cells"
seed = 2
"#;

/// Each method with options that are not the defaults, as TOML and whether it needs the start.
const METHODS: [(&str, &str); 10] = [
    ("average", "weights = [3, 1]"),
    ("uniform_soup", ""),
    ("slerp", "t = 0.3"),
    ("wise_ft", "alpha = 0.7"),
    ("task_arithmetic", "scaling = 0.6"),
    ("ties", "density = 0.5"),
    ("dare", "drop = 0.5"),
    ("model_stock", ""),
    ("tsv_m", "scaling = 0.8"),
    ("iso_c", ""),
];

#[test]
fn the_command_makes_what_the_stage_makes() {
    let stage = |(i, (name, options)): (usize, &(&str, &str))| {
        let comma = if options.is_empty() { "" } else { ", " };
        let base = if i < 3 { (*options).to_owned() } else { format!("base = \"start\"{comma}{options}") };
        format!(
            "[stage.{name}.merge]\nsources = [\"one\", \"two\"]\nbatch_norm = \"merged\"\nmethod.{name} = {{ {base} }}\n"
        )
    };
    let stages: Vec<String> = METHODS.iter().enumerate().map(stage).collect();
    let workplace = Workplace::new(&(EXPERIMENT.to_owned() + &stages.concat()));
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0).stderr(contains("executed 13, "));
    let output = workplace.medmerge(&["plan", "experiment.toml", "--json"]).output().expect("a plan");
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let stored = |id: &str| {
        let stage =
            plan["stages"].as_array().unwrap().iter().find(|stage| stage["id"] == id).expect("a stage");
        let fingerprint = stage["fingerprint"].as_str().unwrap();
        workplace.path(&format!(".medmerge/store/{}/{fingerprint}/model.safetensors", &fingerprint[..2]))
    };
    for (i, (name, options)) in METHODS.iter().enumerate() {
        let mut command = workplace.medmerge(&["merge", "--out"]);
        command.arg(format!("{name}.safetensors")).args([stored("one"), stored("two")]);
        command.args(["--method", &format!("{name} = {{ {options} }}")]);
        if i >= 3 {
            command.arg("--base").arg(stored("start"));
        }
        command.assert().code(0);
        let (merged, metadata) = checkpoint::load(&workplace.path(&format!("{name}.safetensors"))).unwrap();
        assert_eq!(bits(&merged), bits(&tensors(&stored(name))), "{name}");
        let provenance: serde_json::Value = serde_json::from_str(&metadata[checkpoint::KEY]).unwrap();
        assert_eq!(provenance["info"]["backbone"]["resnet18"]["width"], 4, "the model is still known");
    }
}

/// A copy whose channels stand in another order becomes the original again.
#[test]
fn git_rebasin_aligns_files_of_a_network_that_is_named() {
    use medmerge::backbone::BackboneSpec;
    use medmerge::nn::init::initial_values;

    let workplace = Workplace::new("");
    let spec: BackboneSpec = toml::from_str("resnet18 = { stem = 'small', width = 4 }").unwrap();
    let mut original = initial_values(&spec.build().all_parameters(Some(3)), 5, &Device::Cpu).unwrap();
    original.retain(|_, tensor| tensor.dtype() == DType::F32);
    let mut permuted = original.clone();
    let order = Tensor::new(&[2u32, 0, 3, 1], &Device::Cpu).unwrap();
    let inner = "layer1.0";
    for name in ["conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"] {
        let tensor = permuted.get_mut(&format!("{inner}.{name}")).unwrap();
        *tensor = tensor.index_select(&order, 0).unwrap();
    }
    let next = permuted.get_mut(&format!("{inner}.conv2.weight")).unwrap();
    *next = next.index_select(&order, 1).unwrap();
    for (name, tensors) in [("a.safetensors", &original), ("b.safetensors", &permuted)] {
        checkpoint::save(tensors, HashMap::new(), &workplace.path(name)).unwrap();
    }
    let merge = |rest: &[&str]| {
        let files =
            ["merge", "a.safetensors", "b.safetensors", "--method", "git_rebasin", "--out", "m.safetensors"];
        workplace.medmerge(&[&files[..], rest].concat()).assert()
    };
    merge(&[]).code(2).stderr(contains("needs the backbone to match channels"));
    merge(&["--backbone", "resnet19"]).code(2).stderr(contains("unknown variant `resnet19`"));
    merge(&["--backbone", "resnet18"]).code(2).stderr(contains("the files do not contain a resnet18"));
    merge(&["--backbone", "resnet18 = { stem = 'small', width = 4 }"]).code(0);
    let merged = tensors(&workplace.path("m.safetensors"));
    for (name, tensor) in &original {
        let difference = (tensor - &merged[name]).unwrap().abs().unwrap().flatten_all().unwrap();
        assert!(difference.max(0).unwrap().to_scalar::<f32>().unwrap() < 1e-6, "{name}");
    }
}

#[test]
fn f25_variances_below_0_are_refused() {
    let workplace = workplace();
    let merge = [
        "merge",
        "b.safetensors",
        "a.safetensors",
        "--method",
        "average.weights=[-1, 2]",
        "--out",
        "m.safetensors",
    ];
    let refused = workplace.medmerge(&merge).assert().code(1);
    refused.stderr(contains("`bn1.running_var`").and(contains("negative variances")));
    assert!(!workplace.path("m.safetensors").exists());
}
