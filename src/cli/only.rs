//! `--only`: run part of an experiment.

use std::collections::BTreeSet;

use clap::Args;

use super::Error;
use super::experiments::{did_you_mean, names};
use crate::plan::{Plan, StageId};

/// The parts of an experiment to run.
#[derive(Debug, Default, Args)]
pub(super) struct Only {
    /// Run only what this stage, table or figure needs; may be repeated
    ///
    /// A stage is given by its name or id: final, 'final[seed=0]', or 'final[target=fundus]' with every seed. A table
    /// or figure is given by its name, which selects the stages in its `from`; other tables and figures are not
    /// printed. If a stage has the same name, it takes precedence; stage:NAME, table:NAME and figure:NAME are
    /// unambiguous. With several files, those without this name are skipped.
    #[arg(long = "only", value_name = "STAGE|TABLE|FIGURE")]
    names: Vec<String>,
}

/// The part that a name refers to in one experiment.
enum Part<'p> {
    Stages(Vec<StageId>),
    /// A table's or figure's name, and the stages that it shows.
    Shown(&'p str, Vec<StageId>),
}

impl Only {
    /// Restrict the plan to the wanted parts and what they need.
    pub(super) fn restrict(&self, plan: &mut Plan) {
        if !self.names.is_empty() {
            let parts = self.names.iter().filter_map(|name| part(plan, name));
            let wanted: BTreeSet<_> = parts.flat_map(Part::into_stages).collect();
            plan.restrict(wanted);
        }
    }

    /// Whether any part of an experiment is wanted.
    pub(super) fn concerns(&self, plan: &Plan) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| part(plan, name).is_some())
    }

    /// Whether to print a table or figure: all of them, unless some are wanted.
    pub(super) fn prints(&self, plan: &Plan, name: &str) -> bool {
        let shown = self.names.iter().filter_map(|name| match part(plan, name)? {
            Part::Shown(name, _) => Some(name),
            Part::Stages(_) => None,
        });
        let shown: Vec<&str> = shown.collect();
        shown.is_empty() || shown.contains(&name)
    }

    /// # Errors
    /// A name is unknown in all plans; the message suggests a similar one.
    pub(super) fn check(&self, plans: &[Plan]) -> Result<(), Error> {
        let unknown = |name: &&String| plans.iter().all(|plan| part(plan, name).is_none());
        let Some(name) = self.names.iter().find(unknown) else { return Ok(()) };
        let results = plans.iter().flat_map(|plan| {
            let experiment = &plan.experiment;
            experiment.tables.keys().chain(experiment.figures.keys()).map(String::as_str)
        });
        let nearest = did_you_mean(name, plans.iter().flat_map(names).chain(results));
        let place = match plans {
            [plan] => plan.experiment.source.path.display().to_string(),
            _ => "any of the files".to_owned(),
        };
        Err(Error::Usage(format!("failed to find a stage, table or figure {name:?} in {place}{nearest}")))
    }
}

impl Part<'_> {
    fn into_stages(self) -> Vec<StageId> {
        match self {
            Self::Stages(stages) | Self::Shown(_, stages) => stages,
        }
    }
}

fn part<'p>(plan: &'p Plan, name: &str) -> Option<Part<'p>> {
    match name.split_once(':') {
        Some(("stage", name)) => stages(plan, name),
        Some(("table", name)) => table(plan, name),
        Some(("figure", name)) => figure(plan, name),
        _ => stages(plan, name).or_else(|| table(plan, name)).or_else(|| figure(plan, name)),
    }
}

fn stages<'p>(plan: &Plan, name: &str) -> Option<Part<'p>> {
    Some(plan.called(name)).filter(|stages| !stages.is_empty()).map(Part::Stages)
}

fn table<'p>(plan: &'p Plan, name: &str) -> Option<Part<'p>> {
    let (name, spec) = plan.experiment.tables.get_key_value(name)?;
    Some(shown(plan, name, &spec.from))
}

fn figure<'p>(plan: &'p Plan, name: &str) -> Option<Part<'p>> {
    let (name, spec) = plan.experiment.figures.get_key_value(name)?;
    let table = spec.table().and_then(|table| plan.experiment.tables.get(table));
    Some(shown(plan, name, table.map_or_else(|| spec.from(), |table| &table.from)))
}

fn shown<'p>(plan: &Plan, name: &'p str, from: &[String]) -> Part<'p> {
    let stages = plan.stage_ids().filter(|&node| from.contains(&plan.stage(node).name));
    Part::Shown(name, stages.collect())
}
