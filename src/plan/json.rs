//! `plan --json`, which scripts rely on.
//!
//! ```text
//! {"stages": [{"id", "kind", "fingerprint", "status": "fresh" | "stale",
//!              "why": [{"field", "old", "new"}], "inputs": {"<role>": "<fingerprint>"}}]}
//! ```
//!
//! `field` is the path of a field of the fingerprint; or `never_made`, `damaged`, `gone` or `asked`, and then
//! `old` and `new` are null. Inputs that share a role are told apart by their label: `model.<row label>`.

use serde_json::{Map, Value, json};

use super::freshness::is_digest;
use super::{Plan, PlannedStage, Status, Why};

impl Plan {
    /// What `plan --json` prints.
    pub fn to_json(&self) -> Value {
        let stages: Vec<_> = self.order.iter().map(|&node| self.stage(&self.graph[node])).collect();
        json!({ "stages": stages })
    }

    fn stage(&self, stage: &PlannedStage) -> Value {
        let why: Vec<_> = match &stage.status {
            Status::Fresh => Vec::new(),
            Status::Stale(why) => why.iter().map(reason).collect(),
        };
        let inputs = stage.inputs.iter().map(|(input, node)| {
            let role = match &input.label {
                Some(label) => format!("{}.{label}", input.role),
                None => input.role.clone(),
            };
            (role, json!(self.graph[*node].fingerprint))
        });
        json!({
            "id": stage.id,
            "kind": stage.spec.kind(),
            "fingerprint": stage.fingerprint,
            "status": stage.status.word(),
            "why": why,
            "inputs": inputs.collect::<Map<_, _>>(),
        })
    }
}

fn reason(why: &Why) -> Value {
    let word = |word: &str| json!({ "field": word, "old": null, "new": null });
    match why {
        Why::NeverMade => word("never_made"),
        Why::Damaged { .. } => word("damaged"),
        Why::Gone => word("gone"),
        Why::Asked => word("asked"),
        Why::Field { path, old, new } => {
            json!({ "field": path, "old": old.as_deref().map(value), "new": new.as_deref().map(value) })
        }
        Why::Input { role, old, new, .. } => {
            json!({ "field": format!("input.{role}"), "old": old, "new": new })
        }
    }
}

/// An option as the JSON that it is; a digest, which may look like a number, as a string.
fn value(text: &str) -> Value {
    let option = if is_digest(text) { None } else { serde_json::from_str(text).ok() };
    option.unwrap_or_else(|| Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Lab;
    use super::*;
    use crate::stage::StageSpec;

    #[test]
    fn a_plan_as_json_has_what_scripts_rely_on() {
        let mut lab = Lab::new();
        lab.make(&["source", "tuned"]);
        let made = lab.plan();
        let StageSpec::Finetune(tuned) = &mut lab.experiment.stages[1].spec else {
            panic!("a finetune stage")
        };
        tuned.train.clip_norm = Some(1.5);
        let plan = lab.plan();
        let fingerprint = |plan: &Plan, i: usize| plan.graph[plan.order[i]].fingerprint.clone();
        assert_eq!(made.to_json()["stages"][1]["status"], "fresh");
        assert_eq!(
            plan.to_json(),
            json!({"stages": [
                {
                    "id": "source",
                    "kind": "pretrain",
                    "fingerprint": fingerprint(&made, 0),
                    "status": "fresh",
                    "why": [],
                    "inputs": {},
                },
                {
                    "id": "tuned",
                    "kind": "finetune",
                    "fingerprint": fingerprint(&plan, 1),
                    "status": "stale",
                    "why": [{"field": "train.clip_norm", "old": null, "new": 1.5}],
                    "inputs": {"from": fingerprint(&made, 0)},
                },
                {
                    "id": "scores",
                    "kind": "evaluate",
                    "fingerprint": fingerprint(&plan, 2),
                    "status": "stale",
                    "why": [{"field": "never_made", "old": null, "new": null}],
                    "inputs": {"model.tuned": fingerprint(&plan, 1)},
                },
            ]})
        );
    }

    #[test]
    fn a_digest_stays_a_string_even_if_it_looks_like_a_number() {
        assert_eq!(value(&"1".repeat(64)), json!("1".repeat(64)));
        assert_eq!(value("cpu-f32"), json!("cpu-f32"));
        assert_eq!(value("\"head\""), json!("head"));
    }
}
