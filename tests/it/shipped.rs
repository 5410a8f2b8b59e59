//! The experiments in `experiments/`: each is checked whole, and its plan is a snapshot.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::builder::Workplace;
use crate::dataset::data;

/// The stages of a shipped experiment in the order of its plan.
fn stages(name: &str) -> Vec<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments").join(name);
    let file = file.to_str().expect("a path in UTF-8");
    let output = Workplace::new("").medmerge(&["plan", file, "--json"]).output().expect("a plan");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    plan["stages"].as_array().expect("stages").clone()
}

/// The same as lines: `id  kind  role=input …`.
fn plan(name: &str) -> String {
    let stages = stages(name);
    let text = |value: &Value| value.as_str().expect("text").to_string();
    let mut ids = BTreeMap::new();
    for stage in &stages {
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

/// Each of the seven tables, of those that tune them, and the one of few labels: its stages, and those that no table
/// before it has.
#[test]
fn the_tables_of_small_share_what_can_be_shared() {
    if data().is_none() {
        return;
    }
    let mut made = std::collections::BTreeSet::new();
    let tables = ["anchor", "granularity", "label_budget", "main", "merged_parts", "origin", "sources"];
    let tuning = ["anchor", "decay", "rates"];
    let tables = tables.map(|table| format!("small/{table}"));
    let tables = tables.into_iter().chain(tuning.map(|table| format!("tuning/{table}")));
    let tables = tables.chain(["few_labels".to_owned()]);
    let line = |table: String| {
        let stages = stages(&format!("{table}.toml"));
        let new = stages.iter().filter(|stage| made.insert(stage["fingerprint"].clone().to_string())).count();
        format!("{table}: {} stages, {new} new", stages.len())
    };
    let lines: Vec<String> = tables.map(line).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    small/anchor: 278 stages, 278 new
    small/granularity: 242 stages, 156 new
    small/label_budget: 602 stages, 516 new
    small/main: 326 stages, 180 new
    small/merged_parts: 194 stages, 108 new
    small/origin: 98 stages, 12 new
    small/sources: 231 stages, 145 new
    tuning/anchor: 162 stages, 80 new
    tuning/decay: 170 stages, 104 new
    tuning/rates: 266 stages, 192 new
    few_labels: 522 stages, 520 new
    ");
}

#[test]
fn medmnist_plans_what_it_always_did() {
    if data().is_some() {
        insta::assert_snapshot!("medmnist", plan("medmnist.toml"));
    }
}
