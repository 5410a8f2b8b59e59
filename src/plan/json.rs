//! `plan --json`, which scripts rely on.
//!
//! ```text
//! {"stages": [{"id", "kind", "fingerprint", "status": "fresh" | "stale",
//!              "run", "why": [{"field", "old", "new"}], "inputs": {"<role>": "<fingerprint>"},
//!              "estimate": {"seconds", "memory_bytes", "disk_bytes"}}]}
//! ```
//!
//! `field` is the path of a field of the fingerprint, or `never_made`, `damaged`, `gone` or `asked`; then `old` and
//! `new` are null. `run` is false for a fresh stage and for a stale one that no wanted stage needs. Inputs with the
//! same role are distinguished by their label: `model.<row label>`. `estimate` is the cost of making the stage, fresh
//! or stale.

use serde_json::{Map, Value, json};

use super::cost::{Estimate, Estimates};
use super::freshness::is_digest;
use super::{Plan, PlannedStage, Status, Why};

impl Plan {
    /// The output of `plan --json`.
    pub fn to_json(&self, estimates: &Estimates) -> Value {
        let needed = self.needed();
        let stage = |&node| self.stage_json(&self.graph[node], needed.contains(&node), estimates.of(node));
        json!({ "stages": self.order.iter().map(stage).collect::<Vec<_>>() })
    }

    fn stage_json(&self, stage: &PlannedStage, run: bool, estimate: &Estimate) -> Value {
        let why: Vec<_> = match &stage.status {
            Status::Fresh => Vec::new(),
            Status::Stale(why) => why.iter().map(reason).collect(),
        };
        let inputs = stage.inputs.iter();
        let inputs = inputs.map(|(input, node)| (input.title(), json!(self.graph[*node].fingerprint)));
        json!({
            "id": stage.id,
            "kind": stage.spec.kind(),
            "fingerprint": stage.fingerprint,
            "status": stage.status.word(),
            "run": run,
            "why": why,
            "inputs": inputs.collect::<Map<_, _>>(),
            "estimate": {
                "seconds": estimate.seconds,
                "memory_bytes": estimate.memory_bytes,
                "disk_bytes": estimate.disk_bytes,
            },
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

/// An option as its JSON value; a digest, which may look like a number, as a string.
fn value(text: &str) -> Value {
    let option = if is_digest(text) { None } else { serde_json::from_str(text).ok() };
    option.unwrap_or_else(|| Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Lab;
    use super::*;
    use stage::StageSpec;

    fn json(lab: &Lab, plan: &Plan) -> Value {
        plan.to_json(&plan.estimates(&lab.store, 1))
    }

    fn estimate(lab: &Lab, plan: &Plan, i: usize) -> Value {
        let estimates = plan.estimates(&lab.store, 1);
        let &Estimate { seconds, memory_bytes, disk_bytes, .. } = estimates.of(plan.order[i]);
        json!({ "seconds": seconds, "memory_bytes": memory_bytes, "disk_bytes": disk_bytes })
    }

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
        let fingerprint = |plan: &Plan, i: usize| plan.graph[plan.order[i]].fingerprint;
        assert_eq!(json(&lab, &made)["stages"][1]["status"], "fresh");
        assert_eq!(
            json(&lab, &plan),
            json!({"stages": [
                {
                    "id": "source",
                    "kind": "pretrain",
                    "fingerprint": fingerprint(&made, 0),
                    "status": "fresh",
                    "run": false,
                    "why": [],
                    "inputs": {},
                    "estimate": estimate(&lab, &plan, 0),
                },
                {
                    "id": "tuned",
                    "kind": "finetune",
                    "fingerprint": fingerprint(&plan, 1),
                    "status": "stale",
                    "run": true,
                    "why": [{"field": "train.clip_norm", "old": null, "new": 1.5}],
                    "inputs": {"from": fingerprint(&made, 0)},
                    "estimate": estimate(&lab, &plan, 1),
                },
                {
                    "id": "scores",
                    "kind": "evaluate",
                    "fingerprint": fingerprint(&plan, 2),
                    "status": "stale",
                    "run": true,
                    "why": [{"field": "never_made", "old": null, "new": null}],
                    "inputs": {"model.tuned": fingerprint(&plan, 1)},
                    "estimate": estimate(&lab, &plan, 2),
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
