//! The ancestry of a stage, down to its sources.

use identity::Ancestry;

use super::{Plan, PlannedStage, dataset_fields};

impl Plan {
    /// The fields of a stage, of its data sets and of its direct and indirect inputs, each once, the stage first. It
    /// depends only on the stage's fingerprint.
    pub fn ancestry(&self, stage: &PlannedStage) -> Ancestry {
        let mut ancestry = Ancestry::new();
        let mut waiting = vec![stage];
        while let Some(stage) = waiting.pop() {
            if ancestry.contains_key(&stage.fingerprint) {
                continue;
            }
            ancestry.insert(stage.fingerprint, stage.fields.clone());
            for (_, dataset) in &stage.datasets {
                let fields = || dataset_fields(&dataset.spec, dataset.labels, &dataset.summary);
                ancestry.entry(dataset.fingerprint).or_insert_with(fields);
            }
            // A stack: the last item is visited first.
            waiting.extend(stage.inputs.iter().rev().map(|(_, node)| &self.graph[*node]));
        }
        ancestry
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Lab;
    use identity::{Field, Fingerprint};

    #[test]
    fn an_ancestry_includes_the_sources_and_can_be_verified() {
        let plan = Lab::new().plan();
        let of = |id: &str| plan.graph.stages().find(|stage| stage.id == id).unwrap();
        let ancestry = plan.ancestry(of("tuned"));
        let kind =
            |fields: &Vec<Field>| fields.iter().find(|field| field.path == "kind").unwrap().value.clone();
        let kinds: Vec<String> = ancestry.values().map(kind).collect();
        assert_eq!(kinds, ["finetune", "phantom", "pretrain", "phantom"]);
        assert_eq!(ancestry[0], of("tuned").fields);
        for (fingerprint, fields) in &ancestry {
            assert_eq!(*fingerprint, Fingerprint::of(fields));
        }
        let of_scores = plan.ancestry(of("scores"));
        assert!(ancestry.iter().all(|(fingerprint, fields)| of_scores[fingerprint] == *fields));
    }
}
