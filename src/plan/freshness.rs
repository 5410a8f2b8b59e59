//! Whether a stage must run, and why.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::fmt;
use std::path::PathBuf;

use super::graph::{Graph, StageId};
use identity::{Field, Role, short};

use super::PlannedStage;
use stage::Input;
use store::{ByStage, Store, StoreError};

/// Whether the store has a stage's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The result is in the store.
    Fresh,
    /// The result is missing, for at least one reason.
    Stale(Vec<Why>),
}

impl Status {
    /// Whether the stage is stale.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Stale(_))
    }

    /// `fresh` or `stale`.
    pub fn word(&self) -> &'static str {
        if self.is_stale() { "stale" } else { "fresh" }
    }

    /// Whether the user requested a rerun.
    pub fn is_asked(&self) -> bool {
        matches!(self, Self::Stale(why) if why.contains(&Why::Asked))
    }
}

/// A reason for a stage to run: one variant per cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is no record of this stage of this experiment in the store.
    NeverMade,
    /// An option, the data, a revision or the numerics changed since the last run.
    Field {
        /// Path of the [`Field`].
        path: String,
        /// Old value; `None` if there was no such field.
        old: Option<String>,
        /// New value; `None` if the field was removed.
        new: Option<String>,
    },
    /// An input changed.
    Input {
        /// Role of the input.
        role: Role,
        /// Id of its current stage.
        stage: String,
        /// Old fingerprint of the input; `None` if there was no such input.
        old: Option<String>,
        /// New fingerprint of the input.
        new: String,
    },
    /// The result is damaged and was set aside.
    Damaged {
        /// Current path of the entry.
        aside: PathBuf,
    },
    /// The result was removed from the store.
    Gone,
    /// The user requested a rerun.
    Asked,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverMade => f.write_str("never made"),
            Self::Field { path, old, new } => write!(f, "{path}: {} -> {}", shown(old), shown(new)),
            Self::Input { role, stage, old: Some(_), .. } => {
                write!(f, "{role}: {stage} changed")
            }
            Self::Input { role, stage, old: None, .. } => write!(f, "{role}: {stage} is new"),
            Self::Damaged { aside } => write!(f, "damaged; set aside as {}", aside.display()),
            Self::Gone => f.write_str("no longer in the store"),
            Self::Asked => f.write_str("asked for"),
        }
    }
}

/// Abbreviates digests.
fn shown(value: &Option<String>) -> &str {
    match value {
        None => "none",
        Some(value) if is_digest(value) => short(value),
        Some(value) => value,
    }
}

/// Whether a field's value is a digest.
pub(super) fn is_digest(value: &str) -> bool {
    value.len() == 64 && value.chars().all(|c| c.is_ascii_hexdigit())
}

/// The status of a stage. Its inputs must be in the graph; `last_made` contains the last fingerprints of the
/// experiment's stages.
pub(super) fn judge(
    stage: &PlannedStage,
    graph: &Graph,
    last_made: &ByStage,
    store: &Store,
) -> Result<Status, StoreError> {
    let fingerprint = &stage.fingerprint;
    if store.manifest(fingerprint)?.is_some() {
        return Ok(Status::Fresh);
    }
    if let Some(aside) = store.set_aside_as(fingerprint) {
        return Ok(Status::Stale(vec![Why::Damaged { aside }]));
    }
    let never_made = Status::Stale(vec![Why::NeverMade]);
    let Some(last) = last_made.get(&stage.id) else { return Ok(never_made) };
    if last == fingerprint {
        return Ok(Status::Stale(vec![Why::Gone]));
    }
    let Some(last) = store.manifest(last)? else { return Ok(never_made) };
    Ok(Status::Stale(changes(&last.header.fields, stage, graph)))
}

/// Every field that is not what it was, sorted by path; inputs of the same role in their order in the experiment file.
pub(super) fn changes(old: &[Field], stage: &PlannedStage, graph: &Graph) -> Vec<Why> {
    let only_in = |these: &[Field], those: &[Field]| {
        let those: HashSet<&Field> = those.iter().collect();
        let mut values: BTreeMap<String, VecDeque<String>> = BTreeMap::new();
        for field in these.iter().filter(|field| !those.contains(field)) {
            values.entry(field.path.clone()).or_default().push_back(field.value.clone());
        }
        values
    };
    let mut before = only_in(old, &stage.fields);
    let mut now = only_in(&stage.fields, old);
    let paths: BTreeSet<String> = before.keys().chain(now.keys()).cloned().collect();
    let mut changes = Vec::new();
    for path in paths {
        let (mut old, mut new) =
            (before.remove(&path).unwrap_or_default(), now.remove(&path).unwrap_or_default());
        let first = changes.len();
        while !(old.is_empty() && new.is_empty()) {
            changes.push(change(&path, old.pop_front(), new.pop_front(), stage, graph));
        }
        changes[first..].sort_by_key(|why| position(why, stage, graph));
    }
    changes
}

/// Where an input stands among those of a stage: inputs of the same role are sorted by fingerprint, which tells readers
/// nothing.
fn position(why: &Why, stage: &PlannedStage, graph: &Graph) -> Option<usize> {
    let Why::Input { stage: id, .. } = why else { return None };
    stage.inputs.iter().position(|(_, node)| graph[*node].id == *id)
}

/// One changed field; an input by the stage that it comes from now.
fn change(path: &str, old: Option<String>, new: Option<String>, stage: &PlannedStage, graph: &Graph) -> Why {
    let role = path.strip_prefix("input.").map(Role::from);
    let made = new.as_ref().and_then(|digest| digest.parse().ok());
    let is_from = |(input, node): &&(Input, StageId)| {
        role.as_ref() == Some(&input.role) && made == Some(graph[*node].fingerprint)
    };
    match (stage.inputs.iter().find(is_from), new) {
        (Some((input, node)), Some(new)) => {
            Why::Input { role: input.role.clone(), stage: graph[*node].id.clone(), old, new }
        }
        (_, new) => Why::Field { path: path.to_string(), old, new },
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Lab;
    use super::*;
    use stage::StageSpec;
    use train::ScheduleSpec;
    use train::schedule::ConstantSpec;

    fn why(lab: &Lab, id: &str) -> Vec<String> {
        let plan = lab.plan();
        let stage = plan.graph.stages().find(|stage| stage.id == id).unwrap();
        match &stage.status {
            Status::Fresh => vec!["fresh".into()],
            Status::Stale(why) => why.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_stage_is_stale_until_it_is_made() {
        let lab = Lab::new();
        assert_eq!(why(&lab, "source"), ["never made"]);
        lab.make(&["source"]);
        assert_eq!(why(&lab, "source"), ["fresh"]);
        assert_eq!(why(&lab, "tuned"), ["never made"]);
    }

    #[test]
    fn a_rerun_is_explained_by_old_and_new_values_and_by_the_inputs_stage() {
        let mut lab = Lab::new();
        lab.make(&["source", "tuned", "scores"]);
        let StageSpec::Pretrain(source) = &mut lab.experiment.stages[0].spec else {
            panic!("a pretrain stage")
        };
        source.train.epochs = 3;
        source.train.patience = Some(2);
        assert_eq!(why(&lab, "source"), ["train.epochs: 10 -> 3", "train.patience: null -> 2"]);
        assert_eq!(why(&lab, "tuned"), ["from: source changed"]);
        assert_eq!(why(&lab, "scores"), ["model: tuned changed"]);
    }

    #[test]
    fn options_of_different_kinds_are_removed_and_added() {
        let mut lab = Lab::new();
        lab.make(&["source"]);
        let StageSpec::Pretrain(source) = &mut lab.experiment.stages[0].spec else {
            panic!("a pretrain stage")
        };
        source.train.schedule = ScheduleSpec::Constant(ConstantSpec::default());
        assert_eq!(
            why(&lab, "source"),
            [
                "train.schedule.constant.warmup_epochs: none -> 0",
                "train.schedule.cosine.min_factor: 0.0 -> none",
                "train.schedule.cosine.warmup_epochs: 0 -> none",
            ]
        );
    }

    #[test]
    fn removed_and_damaged_entries_have_different_reasons() {
        let lab = Lab::new();
        lab.make(&["source", "tuned"]);
        let plan = lab.plan();
        lab.store.remove(&plan.graph[plan.order[0]].fingerprint).unwrap();
        assert_eq!(why(&lab, "source"), ["no longer in the store"]);
        let tuned = plan.graph[plan.order[1]].fingerprint.to_string();
        let file = lab.store.root().join("store").join(&tuned[..2]).join(tuned).join("model.safetensors");
        std::fs::remove_file(file).unwrap();
        let [why] = &why(&lab, "tuned")[..] else { panic!("one reason") };
        assert!(why.starts_with("damaged; set aside as ") && why.ends_with("-0"), "{why}");
    }

    #[test]
    fn an_entry_that_another_experiment_made_is_fresh() {
        let mut lab = Lab::new();
        lab.make(&["source"]);
        lab.experiment.name = "another".into();
        lab.experiment.stages[0].name = "renamed".into();
        assert_eq!(why(&lab, "renamed"), ["fresh"]);
    }

    #[test]
    fn a_removed_input_is_named_by_its_role() {
        let lab = Lab::new();
        let plan = lab.plan();
        let stage = &plan.graph[plan.order[1]];
        let mut old = stage.fields.clone();
        old.push(Field { path: "input.anchor".into(), value: "ab".repeat(32) });
        let reasons = changes(&old, stage, &plan.graph);
        assert_eq!(reasons[0].to_string(), "input.anchor: abababababab -> none");
        assert_eq!(reasons.len(), 1);
    }
}
