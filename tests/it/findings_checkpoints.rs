//! Checkpoints of others, values that are not finite, and stores that are not this user's own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use candle_core::{Device, Tensor};
use medmerge::backbone::BackboneSpec;
use medmerge::experiment::merge_method;
use medmerge::identity::{Fingerprint, Numerics};
use medmerge::merge_files::{FileError, Input, Inputs, Output};
use medmerge::nn::StateDict;
use medmerge::nn::init::initial_values;
use medmerge::plan::Plan;
use medmerge::stage::{Artifact, StageSpec};
use medmerge::store::{Store, StoreError, checkpoint};
use predicates::prelude::*;
use predicates::str::contains;

use crate::builder::Workplace;
use crate::not_tested::{Need, not_tested};

const EXPERIMENT: &str = r#"
[experiment]
name = "others"

[dataset.cells.phantom]
family = "cells"
size = 12
train = 16
val = 8
test = 8

[stage.good.import]
path = "good.safetensors"
backbone.resnet18 = { stem = "small", width = 4 }
head.keep = ["eosinophil", "lymphocyte", "monocyte", "neutrophil"]

[stage.bad.import]
path = "bad.safetensors"
backbone.resnet18 = { stem = "small", width = 4 }
head.keep = ["eosinophil", "lymphocyte", "monocyte", "neutrophil"]
allow_non_finite = true

[stage.healthy.evaluate]
models = { "good" = "good" }
datasets = ["cells"]

[stage.both.evaluate]
models = { "good" = "good", "bad" = "bad" }
datasets = ["cells"]

[table.main]
from = ["healthy"]
rows = "model"
columns = ["metric"]
metrics = ["accuracy"]
"#;

fn tensors(seed: u64) -> StateDict {
    let backbone: BackboneSpec = toml::from_str("resnet18 = { stem = 'small', width = 4 }").unwrap();
    initial_values(&backbone.build().all_parameters(Some(4)), seed, &Device::Cpu).unwrap()
}

fn save(path: &Path, tensors: &StateDict) {
    checkpoint::save(tensors, HashMap::new(), path).unwrap();
}

/// The tensors with another first element in one of them.
fn spoiled(mut tensors: StateDict, name: &str, element: f32) -> StateDict {
    let shape = tensors[name].dims().to_vec();
    let mut elements = tensors[name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
    elements[0] = element;
    tensors.insert(name.into(), Tensor::from_vec(elements, shape, &Device::Cpu).unwrap());
    tensors
}

/// A good model and one with this element.
fn workplace(text: &str, element: f32) -> Workplace {
    let workplace = Workplace::new(text);
    save(&workplace.path("good.safetensors"), &tensors(1));
    save(&workplace.path("bad.safetensors"), &spoiled(tensors(2), "fc.bias", element));
    workplace
}

fn plan(workplace: &Workplace, store: &Store) -> Plan {
    let mut experiment = workplace.load().unwrap();
    for stage in &mut experiment.stages {
        if let StageSpec::Import(spec) = &mut stage.spec {
            spec.path = workplace.path(spec.path.file_name().unwrap().to_str().unwrap());
        }
    }
    Plan::new(Arc::new(experiment), store, Numerics::Cpu).unwrap()
}

/// The store, and the fingerprint of each stage.
fn made(workplace: &Workplace) -> (Store, BTreeMap<String, Fingerprint>) {
    let store = Store::open(&workplace.path(".medmerge")).unwrap();
    let plan = plan(workplace, &store);
    let stages = plan.stages().map(|stage| (stage.id.clone(), stage.fingerprint)).collect();
    (store, stages)
}

fn entry(store: &Store, fingerprint: &Fingerprint) -> PathBuf {
    store.root().join("store").join(&fingerprint.to_string()[..2]).join(fingerprint.to_string())
}

#[test]
fn f16_evaluating_a_non_finite_model_fails_and_other_tables_are_written() {
    let workplace = workplace(EXPERIMENT, f32::NAN);
    let named = "NaN or infinite outputs of model \"bad\" (stage `bad`) on data set `cells`";
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(1).stderr(contains(named));
    let metrics = fs::read_to_string(workplace.path("results/others/metrics.csv")).unwrap();
    assert!(metrics.contains("healthy") && !metrics.contains("both"), "{metrics}");
    workplace.medmerge(&["table", "experiment.toml"]).assert().code(0);
}

#[test]
fn f16_non_finite_predictions_of_an_older_version_are_left_out() {
    let workplace = workplace(&EXPERIMENT.replace("from = [\"healthy\"]", "from = [\"both\"]"), 0.5);
    workplace.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    let (store, stages) = made(&workplace);
    let both = stages["both"];
    let header = store.manifest(&both).unwrap().unwrap().header;
    let Artifact::Evaluation(mut evaluation) = store.get(&both).unwrap() else { panic!("an evaluation") };
    let bad = evaluation.predictions.iter_mut().find(|found| found.model == stages["bad"]).unwrap();
    bad.probabilities[0][0] = f32::NAN;
    store.remove(&both).unwrap();
    store.put(header, &Artifact::Evaluation(evaluation), "").unwrap();
    for command in ["run", "table"] {
        let told = contains("failed to score the predictions of both for the model \"bad\"")
            .and(contains("--rerun 'both'"));
        workplace.medmerge(&[command, "experiment.toml"]).assert().code(0).stderr(told);
        let table = fs::read_to_string(workplace.path("results/others/main.csv")).unwrap();
        assert!(table.contains("good") && table.contains("bad,,"), "{table}");
    }
}

#[test]
fn f16_a_merge_of_a_non_finite_model_names_the_tensor_and_the_source() {
    let text = EXPERIMENT.split("[stage.healthy").next().unwrap().to_owned()
        + "[stage.merged.merge]\nsources = ['good', 'bad']\nmethod = 'average'\nbatch_norm = 'merged'\n";
    let workplace = workplace(&text, f32::INFINITY);
    let told = contains("failed to merge `fc.bias`: source `bad` has NaN or infinite elements there");
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(1).stderr(told);
    let merge = ["merge", "good.safetensors", "bad.safetensors", "--out", "m.safetensors"];
    let told = contains("failed to merge `fc.bias`: bad.safetensors has NaN or infinite elements there");
    workplace.medmerge(&merge).assert().code(1).stderr(told);
    assert!(!workplace.path("m.safetensors").exists());
}

#[test]
fn f16_a_merge_that_overflows_says_so() {
    let workplace = Workplace::new("");
    save(&workplace.path("start.safetensors"), &spoiled(tensors(1), "fc.bias", 0.0));
    save(&workplace.path("a.safetensors"), &spoiled(tensors(1), "fc.bias", 1e36));
    let merge =
        ["merge", "a.safetensors", "a.safetensors", "--base", "start.safetensors", "--out", "m.safetensors"];
    let told = contains("failed to merge `fc.bias`: the result has NaN or infinite elements");
    workplace
        .medmerge(&merge)
        .args(["--method", "task_arithmetic.scaling=1000"])
        .assert()
        .code(1)
        .stderr(told);
}

#[test]
fn f03_the_sha256_of_an_imported_file_is_checked_even_if_its_model_is_in_the_store() {
    let workplace = workplace(EXPERIMENT, 0.5);
    workplace.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    for command in ["check", "plan", "run", "table"] {
        let told = contains("good.safetensors: its SHA-256 is ").and(contains("expected 00ff00ff"));
        let arguments = [command, "experiment.toml", "--set", "stage.good.sha256=00ff00ff"];
        workplace.medmerge(&arguments).assert().code(3).stderr(told);
    }
}

#[test]
fn f18_an_entry_that_cannot_be_decoded_is_set_aside_and_made_again() {
    let workplace = workplace(EXPERIMENT, 0.5);
    workplace.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    let (store, stages) = made(&workplace);
    let folder = entry(&store, &stages["good"]);
    rewrite(&folder, "model.safetensors", b"not tensors");
    assert!(store.manifest(&stages["good"]).unwrap().is_some(), "the digests are right");
    let error = store.get(&stages["good"]).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("cannot be decoded"), "{error}");
    workplace.medmerge(&["run", "experiment.toml", "--rerun", "healthy"]).assert().code(0);
    store.get(&stages["good"]).unwrap();
}

/// Another content for a file of an entry, with a manifest that has its length and digest.
fn rewrite(folder: &Path, name: &str, content: &[u8]) {
    let path = folder.join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    manifest["files"][name]["bytes"] = content.len().into();
    manifest["files"][name]["blake3"] = blake3::hash(content).to_hex().as_str().into();
    let old = text.split_once(&format!("{name}\": {{")).unwrap();
    let rest = old.1.split_once('}').unwrap().1;
    let record = format!(
        "\n      \"bytes\": {},\n      \"blake3\": {}\n    ",
        manifest["files"][name]["bytes"], manifest["files"][name]["blake3"]
    );
    let text = format!("{}{name}\": {{{record}}}{rest}", old.0);
    let seal = ",\n  \"blake3\": \"";
    let content_of_manifest = text.rsplit_once(seal).unwrap().0;
    let digest = blake3::hash(content_of_manifest.as_bytes());
    fs::write(&path, format!("{content_of_manifest}{seal}{digest}\"\n}}")).unwrap();
    fs::write(folder.join(name), content).unwrap();
}

#[test]
fn f07_a_stage_is_shown_by_its_name_with_the_lines_that_load_it() {
    let workplace = workplace(EXPERIMENT, 0.5);
    let show = ["show", "good", "--experiment", "experiment.toml"];
    workplace
        .medmerge(&show)
        .assert()
        .code(2)
        .stderr(contains("it has not finished; run the experiment first"));
    workplace.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    let told = contains("model.safetensors").and(contains("not torchvision's standard resnet18"));
    workplace.medmerge(&show).assert().code(0).stdout(told);
    let unknown = ["show", "goood", "--experiment", "experiment.toml"];
    workplace.medmerge(&unknown).assert().code(2).stderr(contains("did you mean \"good\"?"));
}

#[test]
fn f07_a_checkpoint_says_if_torchvision_refuses_it() {
    let workplace = workplace(EXPERIMENT, 0.5);
    workplace.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    let (store, stages) = made(&workplace);
    let (_, metadata) = checkpoint::load(&entry(&store, &stages["good"]).join("model.safetensors")).unwrap();
    let said: serde_json::Value = serde_json::from_str(&metadata[checkpoint::KEY]).unwrap();
    let note = "not torchvision's standard resnet18, which refuses these tensors: small stem, width 4";
    assert_eq!(said["note"], note);
}

#[test]
fn f07_checkpoints_in_wrappers_are_imported_with_a_notice() {
    let prefixed = |prefix: &str| -> StateDict {
        let extra = Tensor::new(&[1f32], &Device::Cpu).unwrap();
        let all = tensors(1).into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor));
        all.chain([("queue".to_owned(), extra)]).collect()
    };
    let workplace = workplace(EXPERIMENT, 0.5);
    save(&workplace.path("good.safetensors"), &prefixed("module.encoder."));
    let run = ["run", "experiment.toml", "--only", "good"];
    let told = contains("removed the prefix `module.encoder.` from their names")
        .and(contains("left out the tensors without the prefix `module.encoder.`: `queue`"));
    workplace.medmerge(&run).assert().code(0).stderr(told);
    save(&workplace.path("good.safetensors"), &prefixed("net."));
    let told = contains("`conv1.weight` is missing").and(contains("not part of the backbone: `net."));
    workplace.medmerge(&run).assert().code(1).stderr(told.and(contains("set `prefix = \"net.\"`")));
    workplace.medmerge(&run).args(["--set", "stage.good.prefix=net."]).assert().code(0);
    let told = contains("no tensor has a name that starts with `nets.`; there are `net.");
    workplace.medmerge(&run).args(["--set", "stage.good.prefix=nets."]).assert().code(1).stderr(told);
}

#[test]
fn f22_an_interrupted_merge_or_export_leaves_nothing() {
    let workplace = workplace(EXPERIMENT, 0.5);
    let raised = AtomicBool::new(true);
    let out = workplace.path("out/m.safetensors");
    fs::create_dir(workplace.path("out")).unwrap();
    let inputs =
        Inputs { sources: vec![Input::open(&workplace.path("good.safetensors")).unwrap()], base: None };
    let method = merge_method("average", 2).unwrap();
    let method = method.over_files(&[&inputs.sources[0]], None).unwrap();
    let names = vec!["fc.bias".to_owned()];
    let described = [("fc.bias".to_owned(), inputs.sources[0].tensors()["fc.bias"].clone())];
    let output = Output::create(&out, described, HashMap::new()).unwrap();
    let merged = inputs.merge(&*method, &names, &output, &raised);
    assert!(matches!(merged, Err(FileError::Interrupted)));
    drop(output);
    workplace.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    let (store, stages) = made(&workplace);
    let exported = store.export(
        &stages.values().copied().collect::<BTreeSet<_>>(),
        &workplace.path("out/a.zip"),
        &raised,
    );
    assert!(matches!(exported, Err(StoreError::Interrupted)));
    assert_eq!(fs::read_dir(workplace.path("out")).unwrap().count(), 0);
}

#[test]
fn f22_a_file_that_vanishes_between_two_experiments_fails_its_stage_alone() {
    // The first experiment's results replace the second's file: the results folder is where that file is.
    let second = EXPERIMENT
        .replace("\"others\"", "\"second\"")
        .replace("\"good.safetensors\"", "\"results/others/x\"");
    let workplace = workplace(EXPERIMENT, 0.5).with("second.toml", second);
    let folder = workplace.path("results/others");
    fs::create_dir_all(&folder).unwrap();
    save(&folder.join("x"), &tensors(3));
    let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_medmerge"));
    run.current_dir(workplace.path("")).args([
        "run",
        "experiment.toml",
        "second.toml",
        "--log-format",
        "json",
    ]);
    run.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
    let mut child = run.spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let mut told = String::new();
    for line in lines {
        let line = line.unwrap();
        // The first experiment has begun, so both were planned.
        if line.contains("run_started") && folder.join("x").exists() {
            fs::remove_file(folder.join("x")).unwrap();
        }
        told += &(line + "\n");
    }
    assert_eq!(child.wait().unwrap().code(), Some(1), "{told}");
    assert!(told.contains("its data or files changed during the run"), "{told}");
    assert!(told.lines().last().unwrap().contains("failed 1, skipped 2"), "{told}");
}

#[test]
fn f21_files_of_other_programs_in_the_store_are_ignored() {
    let workplace = workplace(EXPERIMENT, 0.5);
    workplace.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    for folder in
        ["staging", "store", "data", "runs", "partial", "locks", "digests", "damaged", "experiments"]
    {
        fs::write(workplace.path(".medmerge").join(folder).join(".DS_Store"), "x").unwrap();
    }
    let commands: [&[&str]; 7] = [
        &["store", "list"],
        &["store", "verify"],
        &["store", "gc", "experiment.toml"],
        &["plan", "experiment.toml"],
        &["table", "experiment.toml"],
        &["status", "--all"],
        &["run", "experiment.toml"],
    ];
    for command in commands {
        workplace.medmerge(command).assert().code(0);
    }
}

#[cfg(unix)]
mod permissions {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Take the permission to write from everything below a path, or give it.
    fn set_writable(path: &Path, writable: bool) {
        let folder = path.is_dir();
        let mode = if folder { 0o555 } else { 0o444 } | if writable { 0o200 } else { 0 };
        if writable {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        for below in fs::read_dir(path).into_iter().flatten() {
            set_writable(&below.unwrap().path(), writable);
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Whether permissions bind this user.
    fn are_bound(workplace: &Workplace) -> bool {
        let probe = workplace.path("probe");
        fs::create_dir(&probe).unwrap();
        fs::set_permissions(&probe, fs::Permissions::from_mode(0o555)).unwrap();
        let bound = fs::create_dir(probe.join("x")).is_err();
        if !bound {
            not_tested(Need::Permissions, "this user may write everywhere");
        }
        bound
    }

    /// Everything at and below a path that its group may not write.
    fn not_the_groups(path: &Path) -> Vec<PathBuf> {
        let below = fs::read_dir(path).into_iter().flatten().map(|below| below.unwrap().path());
        let mut found: Vec<_> = below.flat_map(|below| not_the_groups(&below)).collect();
        if fs::metadata(path).unwrap().permissions().mode() & 0o020 == 0 {
            found.push(path.to_owned());
        }
        found
    }

    #[test]
    fn f21_a_group_whose_umask_allows_it_may_write_everything_in_a_store() {
        let workplace = workplace(EXPERIMENT, 0.5);
        let run = format!("umask 002; exec {} run experiment.toml --quiet", env!("CARGO_BIN_EXE_medmerge"));
        let mut shell = std::process::Command::new("sh");
        let ended = shell.current_dir(workplace.path("")).args(["-c", &run]).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        assert_eq!(not_the_groups(&workplace.path(".medmerge")), [""; 0].map(PathBuf::from));
    }

    #[test]
    fn f21_a_read_only_store_is_read() {
        let workplace = workplace(EXPERIMENT, 0.5);
        workplace.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
        if !are_bound(&workplace) {
            return;
        }
        let store = workplace.path(".medmerge");
        fs::write(store.join("locks/staging.lock"), "").unwrap();
        set_writable(&store, false);
        let commands: [&[&str]; 9] = [
            &["store", "list"],
            &["store", "verify"],
            &["store", "export", "all.zip"],
            &["check", "experiment.toml"],
            &["plan", "experiment.toml"],
            &["explain", "experiment.toml", "good"],
            &["table", "experiment.toml"],
            &["show", "good", "--experiment", "experiment.toml"],
            &["status", "--all"],
        ];
        for command in commands {
            workplace.medmerge(command).assert().code(0).stderr("");
        }
        let told = contains("a group can share a store");
        workplace.medmerge(&["run", "experiment.toml"]).assert().code(4).stderr(told);
        set_writable(&store, true);
    }

    #[test]
    fn f21_damage_in_a_read_only_store_is_reported_and_stays_where_it_is() {
        let workplace = workplace(EXPERIMENT, 0.5);
        workplace.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
        if !are_bound(&workplace) {
            return;
        }
        let (store, stages) = made(&workplace);
        fs::write(entry(&store, &stages["good"]).join("log.txt"), "another").unwrap();
        set_writable(store.root(), false);
        let told = contains("no permission to set it aside");
        workplace.medmerge(&["store", "verify"]).assert().code(4).stderr(told);
        assert!(entry(&store, &stages["good"]).exists());
        set_writable(store.root(), true);
    }

    #[test]
    fn f22_what_cannot_be_deleted_is_reported_and_the_rest_deleted() {
        let workplace = workplace(EXPERIMENT, 0.5);
        if !are_bound(&workplace) {
            return;
        }
        Store::open(&workplace.path(".medmerge")).unwrap();
        let damaged = workplace.path(".medmerge/damaged");
        fs::create_dir_all(damaged.join("a/inside")).unwrap();
        fs::write(damaged.join("a/inside/file"), "x").unwrap();
        fs::create_dir(damaged.join("b")).unwrap();
        set_writable(&damaged.join("a/inside"), false);
        let told = contains("failed to delete ").and(contains("damaged/a"));
        let gc = ["store", "gc", "experiment.toml", "--yes"];
        workplace.medmerge(&gc).assert().code(4).stdout(contains("1 item, 0.0 MiB deleted")).stderr(told);
        assert!(!damaged.join("b").exists());
    }
}
