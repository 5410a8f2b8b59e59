//! The experiments in `experiments/`: each is checked whole, and its plan is a snapshot.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::builder::Workplace;
use crate::dataset::data;

/// The stages of a shipped experiment in the order of its plan: `id  kind  role=input …`.
fn plan(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments").join(name);
    let file = file.to_str().expect("a path in UTF-8");
    let output = Workplace::new("").medmerge(&["plan", file, "--json"]).output().expect("a plan");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let stages = plan["stages"].as_array().expect("stages");
    let text = |value: &Value| value.as_str().expect("text").to_string();
    let mut ids = BTreeMap::new();
    for stage in stages {
        ids.entry(text(&stage["fingerprint"])).or_insert(text(&stage["id"]));
    }
    let line = |stage: &Value| {
        let inputs = stage["inputs"].as_object().expect("inputs").iter();
        let inputs: Vec<_> = inputs.map(|(role, input)| format!("{role}={}", ids[&text(input)])).collect();
        format!("{}  {}  {}", text(&stage["id"]), text(&stage["kind"]), inputs.join(" "))
            .trim_end()
            .to_string()
    };
    stages.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn quickstart_plans_what_it_always_did() {
    insta::assert_snapshot!("quickstart", plan("quickstart.toml"));
}

#[test]
fn small_plans_what_it_always_did() {
    if data().is_some() {
        insta::assert_snapshot!("small", plan("small.toml"));
    }
}

#[test]
fn medmnist_plans_what_it_always_did() {
    if data().is_some() {
        insta::assert_snapshot!("medmnist", plan("medmnist.toml"));
    }
}
