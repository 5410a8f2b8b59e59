//! Merge methods that are formulas: against mergekit's, FusionBench's and NumPy's numbers (`tests/reference/merge_methods.json`), and
//! what an experiment may ask of them.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use medmerge::experiment::{Experiment, Source};
use medmerge::identity::Numerics;
use medmerge::merge_method::MergeMethodSpec;
use medmerge::plan::{Plan, PlanError};
use medmerge::store::Store;
use serde_json::Value;

use crate::reference::{assert_close, json};

const TOLERANCE: f64 = 1e-6;

fn tensor(numbers: &Value, shape: &[usize]) -> Tensor {
    let numbers: Vec<f64> = serde_json::from_value(numbers.clone()).expect("numbers");
    let numbers: Vec<f32> = numbers.into_iter().map(|number| number as f32).collect();
    Tensor::from_vec(numbers, shape, &Device::Cpu).expect("a tensor")
}

#[test]
fn every_formula_gives_the_references_numbers() {
    let (cases, mut compared) = (json("merge_methods.json"), 0);
    for (i, case) in cases.as_array().expect("cases").iter().enumerate() {
        let shape: Vec<usize> = serde_json::from_value(case["shape"].clone()).expect("a shape");
        let all = |values: &Value| -> Vec<Tensor> {
            values.as_array().expect("tensors").iter().map(|numbers| tensor(numbers, &shape)).collect()
        };
        let (base, sources) = (tensor(&case["base"], &shape), all(&case["sources"]));
        for method in case["methods"].as_array().expect("methods") {
            let spec: MergeMethodSpec = serde_json::from_value(method["method"].clone()).expect("a method");
            let merged = match &spec {
                MergeMethodSpec::Dare(dare) => {
                    dare.build().merge_kept(&base, &sources, &all(&method["masks"]))
                }
                spec => {
                    let formula = spec.formula(sources.len()).expect("a formula");
                    formula.merge("a.weight", &sources, spec.common_start().map(|_| &base))
                }
            };
            let what = format!("case {i}, {spec:?}");
            assert_close(&what, &merged.expect(&what), &tensor(&method["merged"], &shape), TOLERANCE);
            compared += 1;
        }
    }
    assert_eq!(compared, 12 * 17 + 6 * 4, "17 methods in each case, 4 more with two sources");
}

/// Three models of one start on two data sets, and a merge of some of them; behind it a model of another start, and
/// one that goes on from a mean of both.
fn experiment(merge: &str) -> String {
    let dataset = |name: &str, family: &str| {
        format!(
            "[dataset.{name}.phantom]\nfamily = \"{family}\"\nsize = 12\ntrain = 32\nval = 16\ntest = 16\n"
        )
    };
    let tuned = |name: &str, dataset: &str, seed: u32| {
        format!("[stage.{name}.finetune]\nfrom = \"start\"\ndataset = \"{dataset}\"\nseed = {seed}\n")
    };
    let pretrained = |name: &str, width: u32| {
        format!(
            "[stage.{name}.pretrain]\nbackbone.resnet18 = {{ stem = \"small\", width = {width} }}\n\
             dataset = \"cells\"\n"
        )
    };
    [
        "[experiment]\nname = \"formulas\"\n[train]\nepochs = 1\nbatch_size = 16\n".to_owned(),
        dataset("cells", "cells"),
        dataset("xray", "xray"),
        pretrained("start", 4),
        pretrained("wide", 8),
        tuned("one", "xray", 1),
        tuned("two", "xray", 2),
        tuned("other", "cells", 3),
        format!("[stage.merged.merge]\ndataset = \"xray\"\n{merge}\n"),
        format!("{}seed = 9\n", pretrained("elsewhere", 4)),
        tuned("stranger", "xray", 4).replace("start", "elsewhere"),
        "[stage.middle.merge]\ndataset = \"xray\"\nsources = [\"one\", \"stranger\"]\nmethod = \"average\"\n"
            .to_owned(),
        tuned("after", "xray", 5).replace("start", "middle"),
    ]
    .concat()
}

/// What is wrong with a merge, as a person reads it.
fn problem(merge: &str) -> String {
    let source = Source::new("experiment.toml", experiment(merge));
    let experiment = match Experiment::parse(source) {
        Ok(experiment) => experiment,
        Err(errors) => return errors.to_string(),
    };
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    match Plan::new(Arc::new(experiment), &store, Numerics::Cpu) {
        Err(PlanError::Experiment(errors)) => errors.to_string(),
        other => format!("{:?}", other.map(|_| "a plan")),
    }
}

#[test]
fn what_a_method_cannot_do_is_said_before_anything_runs() {
    let problems = [
        "sources = [\"one\", \"two\"]\nmethod = \"ties\"",
        "sources = [\"one\", \"two\"]\nmethod.task_arithmetic = { scaling = 0, base = \"one\" }",
        "sources = [\"one\", \"two\"]\nmethod.dare = { base = \"strat\", drop = 1.0 }",
        "sources = [\"one\", \"two\"]\nmethod.ties = { base = \"wide\", density = 0.0 }",
        "sources = [\"one\", \"two\"]\nmethod.model_stock.base = \"wide\"",
        "sources = [\"one\", \"two\", \"other\"]\nmethod.slerp.t = 1.5",
        "sources = [\"one\", \"other\"]\nmethod = \"uniform_soup\"",
        "sources = [\"one\"]\nmethod.ties.base = \"start\"",
    ];
    insta::assert_snapshot!(problems.map(problem).join("\n\n"));
}

#[test]
fn models_that_began_apart_are_refused() {
    for (merge, other, reference) in [
        ("sources = ['one', 'stranger']\nmethod.ties.base = 'start'", "`stranger`", "`base = \"start\"`"),
        ("sources = ['one', 'two']\nmethod.dare.base = 'elsewhere'", "`one`", "`base = \"elsewhere\"`"),
        ("sources = ['after']\nmethod.wise_ft.base = 'start'", "`after`", "`base = \"start\"`"),
        ("sources = ['one', 'stranger']\nmethod = 'uniform_soup'", "`stranger`", "source `one`"),
    ] {
        let message =
            format!("source {other} and {reference} start from different `pretrain` or `merge` stages, but");
        let problem = problem(merge);
        assert!(problem.contains(&message), "{problem}");
    }
}

#[test]
fn right_merges_are_planned() {
    for merge in [
        "sources = [\"after\"]\nmethod.wise_ft.base = \"middle\"",
        "sources = [\"one\", \"stranger\"]\nmethod = \"average\"",
        "sources = [\"one\", \"two\"]\nmethod = \"uniform_soup\"",
        "sources = [\"one\", \"two\", \"other\"]\nmethod.ties = { base = \"start\", density = 1 }",
        "sources = [\"one\"]\nmethod.wise_ft.base = \"start\"",
        "sources = [\"one\", \"two\"]\nmethod.slerp.t = 0",
    ] {
        assert_eq!(problem(merge), "Ok(\"a plan\")");
    }
}
