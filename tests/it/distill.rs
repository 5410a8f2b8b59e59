//! Students of several teachers: whole experiments, resumption, threads, refusals.

use std::sync::Arc;

use candle_core::DType;
use medmerge::stage::{Artifact, StageSpec};
use medmerge::train::resume::Forgetful;
use predicates::str::contains;
use serde_json::{Value, json};

use crate::builder::Workplace;
use crate::pipeline::made_by_one_thread_and_two;
use crate::resume::{content, holds, pretrain, run, spec, train, with};

const EXPERIMENT: &str = r#"
[experiment]
name = "tiny"

[dataset.cells.phantom]
family = "cells"
size = 12
train = 32
val = 16
test = 16

[dataset.xray.phantom]
family = "xray"
size = 12
train = 32
val = 16
test = 16

[train]
epochs = 2
batch_size = 16
augment = [{ crop = { padding = 1 } }, "mixup"]

[stage.source.pretrain]
backbone.resnet18 = { stem = "small", width = 8 }
dataset = "cells"
seed = 7

[stage.other.pretrain]
backbone.resnet34 = { stem = "small", width = 4 }
normalize = { mean = [0.4, 0.4, 0.4], std = [0.3, 0.3, 0.3] }
dataset = "xray"
seed = 8

[stage.probe.finetune]
from = "source"
dataset = "xray"
trainable = "head"
augment = []

[stage.student.distill]
from = "source"
teachers = ["probe", "other"]
dataset = "xray"
temperature = 2.0
label_weight = 0.25

[stage.scores.evaluate]
models = { "Distilled" = "student" }
ensembles."Teachers" = { models = ["probe", "other"] }
datasets = ["xray"]

[table.main]
from = ["scores"]
metrics = ["macro_f1"]

[figure.epochs.curves]
from = ["student"]
"#;

#[test]
fn an_experiment_runs_once_and_one_thread_and_two_give_the_same_bytes() {
    let workplace = Workplace::new(EXPERIMENT);
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0).stderr(contains("executed 5, fresh 0"));
    let swapped = EXPERIMENT.replace("[\"probe\", \"other\"]\ndataset", "[\"other\", \"probe\"]\ndataset");
    let workplace = workplace.with("experiment.toml", swapped);
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0).stderr(contains("executed 0, fresh 5"));
    let table = std::fs::read_to_string(workplace.path("results/tiny/main.csv")).unwrap();
    assert!(table.contains("Distilled") && table.contains("Teachers"), "{table}");
    assert!(workplace.path("results/tiny/epochs.csv").exists());
    let names = made_by_one_thread_and_two(EXPERIMENT);
    assert_eq!(names.iter().filter(|name| name.ends_with("model.safetensors")).count(), 4);
}

#[test]
fn wrong_combinations_are_refused_with_advice() {
    for (from, to, message) in [
        ("[\"probe\", \"other\"]\ndataset", "[]\ndataset", "`teachers` is empty"),
        ("[\"probe\", \"other\"]\ndataset", "[\"source\"]\ndataset", "teacher `source` has a head for"),
        ("[\"probe\", \"other\"]\ndataset", "[\"scores\"]\ndataset", "stages depend on each other"),
        ("temperature = 2.0", "temperature = 0", "`temperature` must be above 0 and up to 100, not 0"),
        ("label_weight = 0.25", "label_weight = 1", "`label_weight` must be at least 0 and below 1, not 1"),
        ("label_weight = 0.25", "loss = \"entropy\"", "uses no labels"),
        ("label_weight = 0.25", "head = \"keep\"", "`head = \"keep\"`, but the model of `source` has"),
    ] {
        assert!(EXPERIMENT.contains(from), "{from}");
        let text = EXPERIMENT.replacen(from, to, 1);
        let output = Workplace::new(&text).medmerge(&["plan", "experiment.toml"]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.code(), Some(2), "{to}: {told}");
        assert!(told.contains(message), "{to}: {told}");
    }
}

fn distill(options: &Value, train: &Value) -> StageSpec {
    let mut body = json!({ "from": "a", "teachers": ["b", "c", "d"] });
    body.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    spec("distill", body, train)
}

fn options() -> Vec<(Value, Value)> {
    let all = json!({
        "augment": [{ "crop": { "padding": 1 } }, { "mixup": {} }], "sampling": "balanced", "ema": 0.8,
        "layer_decay": 0.75, "batch_size": 8, "accumulate": 2,
    });
    vec![(json!({}), json!({})), (json!({ "of": "logits", "temperature": 4.0, "label_weight": 0.5 }), all)]
}

#[test]
fn an_interrupted_training_goes_on_bit_by_bit() {
    let inputs: Vec<Arc<Artifact>> = [1, 2, 3, 4].map(|seed| pretrain(seed).1).into();
    for (options, train) in options() {
        holds(&distill(&options, &with(&train)), &inputs);
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let inputs: Vec<Arc<Artifact>> = [1, 2, 3, 4].map(|seed| pretrain(seed).1).into();
    for (options, train) in options() {
        let spec = distill(&options, &with(&train));
        let [one, four] = [1, 4].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            content(&pool.install(|| run(&spec, &inputs, &Forgetful, &|_| Ok(()))).unwrap())
        });
        assert!(one == four, "{options}");
    }
}

/// A transformer computes the same in training and in evaluation, so it has nothing to learn from itself, whatever the
/// augmentation, the temperature and what is averaged.
#[test]
fn a_student_that_is_its_own_teacher_stays_as_it_is() {
    let plain =
        json!({ "optimizer": { "sgd": { "lr": 0.1 } }, "clip_norm": null, "select": "none", "epochs": 1 });
    let backbone = json!({ "vit_tiny": { "image_size": 12, "patch_size": 6 } });
    let made = run(
        &spec("pretrain", json!({ "backbone": backbone }), &with(&json!({ "epochs": 1 }))),
        &[],
        &Forgetful,
        &|_| Ok(()),
    );
    let own = Arc::new(made.unwrap());
    for options in [json!({ "teachers": ["b"] }), json!({ "of": "logits", "temperature": 3.0 })] {
        let mut inputs = vec![own.clone(); 2];
        if options.get("teachers").is_none() {
            inputs = vec![own.clone(); 4];
        }
        let made = run(&distill(&options, &with(&plain)), &inputs, &Forgetful, &|_| Ok(())).unwrap();
        let (Artifact::Model(before), Artifact::Model(after)) = (&*own, &made) else { panic!("models") };
        assert!(after.history[0].train_loss.abs() < 1e-5, "{:?}", after.history);
        for (name, tensor) in &before.tensors {
            let difference = (tensor - &after.tensors[name]).unwrap().abs().unwrap();
            let largest = difference.flatten_all().unwrap().max(0).unwrap().to_dtype(DType::F32).unwrap();
            let largest = largest.to_scalar::<f32>().unwrap();
            assert!(largest < 1e-4, "{name} moved by {largest}");
        }
    }
}

#[test]
fn a_teacher_that_is_not_finite_is_an_error() {
    let [a, b] = [1, 2].map(|seed| pretrain(seed).1);
    let Artifact::Model(mut broken) = (*b).clone() else { panic!("a model") };
    let bias = &broken.tensors["fc.bias"];
    broken.tensors.insert("fc.bias".into(), (bias * f64::NAN).unwrap());
    let spec = distill(&json!({ "teachers": ["b"] }), &train());
    let inputs = [a, Arc::new(Artifact::Model(broken))];
    let error = run(&spec, &inputs, &Forgetful, &|_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("teacher `b` has NaN or infinite elements in `fc.bias`"), "{error}");
}
