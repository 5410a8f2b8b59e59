//! Whether a stage has to run, and why.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::fmt;
use std::path::PathBuf;

use super::graph::{Graph, StageId};
use identity::{Field, Role, short};

use super::PlannedStage;
use stage::Input;
use store::{ByStage, Store, StoreError};

/// Whether the store has what a stage makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is in the store.
    Fresh,
    /// It is not, and these are the reasons: at least one.
    Stale(Vec<Why>),
}

impl Status {
    /// Whether the store lacks it.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Stale(_))
    }

    /// `fresh` or `stale`.
    pub fn word(&self) -> &'static str {
        if self.is_stale() { "stale" } else { "fresh" }
    }

    /// Whether the person asked for it to be made anew.
    pub fn is_asked(&self) -> bool {
        matches!(self, Self::Stale(why) if why.contains(&Why::Asked))
    }
}

/// One reason for a stage to run. One variant a cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing of this stage of this experiment was ever made, or nothing of it is left.
    NeverMade,
    /// An option, the data, a revision or the numerics changed since it was last made.
    Field {
        /// As in [`Field`].
        path: String,
        /// Then; `None` if there was no such field.
        old: Option<String>,
        /// Now; `None` if there is no such field any more.
        new: Option<String>,
    },
    /// A stage that it takes from makes something else now.
    Input {
        /// What the input is used for.
        role: Role,
        /// Id of the stage that it comes from now.
        stage: String,
        /// The input's fingerprint then; `None` if there was no such input.
        old: Option<String>,
        /// The input's fingerprint now.
        new: String,
    },
    /// What was made is damaged and was set aside.
    Damaged {
        /// Where it lies now.
        aside: PathBuf,
    },
    /// It was made and has been removed from the store.
    Gone,
    /// The person asked for it.
    Asked,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverMade => f.write_str("never made"),
            Self::Field { path, old, new } => write!(f, "{path}: {} -> {}", shown(old), shown(new)),
            Self::Input { role, stage, old: Some(_), .. } => {
                write!(f, "{role}: {stage} makes something else")
            }
            Self::Input { role, stage, old: None, .. } => write!(f, "{role}: {stage} is new"),
            Self::Damaged { aside } => write!(f, "damaged; set aside as {}", aside.display()),
            Self::Gone => f.write_str("no longer in the store"),
            Self::Asked => f.write_str("asked for"),
        }
    }
}

/// A digest by its first digits, everything else as it is.
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

/// Whether the store has what a stage makes, and why not. Its inputs are in the graph; `last_made` says what
/// the stages of the experiment were.
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

/// Every field that is not what it was, sorted by path.
fn changes(old: &[Field], stage: &PlannedStage, graph: &Graph) -> Vec<Why> {
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
        while !(old.is_empty() && new.is_empty()) {
            changes.push(change(&path, old.pop_front(), new.pop_front(), stage, graph));
        }
    }
    changes
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
    fn a_stage_is_stale_until_it_was_made() {
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
        assert_eq!(why(&lab, "tuned"), ["from: source makes something else"]);
        assert_eq!(why(&lab, "scores"), ["model: tuned makes something else"]);
    }

    #[test]
    fn an_option_of_another_kind_is_told_as_gone_and_as_new() {
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
    fn what_was_made_and_is_not_there_any_more_is_told_apart() {
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
    fn an_input_that_is_gone_is_told_by_its_role() {
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
