//! Resolving names: dependencies between stages, their order, and the axes that each depends on.

use std::collections::BTreeSet;

use identity::Role;
use indexmap::IndexSet;
use petgraph::Direction;
use petgraph::algo::{astar, kosaraju_scc};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::Reversed;

use super::Span;
use super::draft::{DatasetDraft, Draft, Version};
use super::error::{Diagnostic, Report};
use super::gather::gathered;
use super::sweep::{Axes, Sweep};
use super::tree::{self, Value};
use kind::suggest;
use stage::StageSpec;

/// Dependencies of stages, by position in the file.
#[derive(Debug)]
pub(super) struct Links {
    /// An edge points from a stage to a stage that depends on it.
    graph: DiGraph<(), ()>,
    /// The data sets of each stage.
    datasets: Vec<BTreeSet<usize>>,
}

/// The names of all sections, in file order.
struct Names<'a> {
    datasets: IndexSet<&'a str>,
    stages: IndexSet<&'a str>,
}

/// Dependencies of a stage, by position in the file.
#[derive(Default)]
struct Needs {
    /// In the order of their first use.
    stages: IndexSet<usize>,
    datasets: BTreeSet<usize>,
}

/// A reference from a stage to another section.
struct Reference<'a> {
    /// The type of section it refers to.
    what: &'static str,
    name: &'a str,
    /// Its role, as in [`stage::Input`].
    role: &'a Role,
}

impl Links {
    /// Resolve every name that a stage refers to; unknown ones are reported.
    pub(super) fn new(
        datasets: &[DatasetDraft<'_>],
        stages: &[Draft<'_, StageSpec>],
        report: &mut Report,
    ) -> Self {
        let names = Names {
            datasets: datasets.iter().map(|draft| draft.name.get_ref().as_ref()).collect(),
            stages: stages.iter().map(|draft| draft.name.get_ref().as_ref()).collect(),
        };
        let mut graph = DiGraph::new();
        let nodes: Vec<NodeIndex> = stages.iter().map(|_| graph.add_node(())).collect();
        let mut read = Vec::new();
        for (&user, draft) in nodes.iter().zip(stages) {
            let Needs { stages, datasets } = names.needs(draft, report);
            graph.extend_with_edges(stages.into_iter().map(|input| (nodes[input], user)));
            read.push(datasets);
        }
        Self { graph, datasets: read }
    }

    /// Report each cycle of stages once.
    pub(super) fn check_cycles(&self, stages: &[Draft<'_, StageSpec>], report: &mut Report) {
        let is_circle =
            |nodes: &Vec<NodeIndex>| nodes.len() > 1 || self.graph.contains_edge(nodes[0], nodes[0]);
        for component in kosaraju_scc(&self.graph).into_iter().filter(is_circle) {
            let Some(cycle) = component.into_iter().min().and_then(|first| self.cycle(first)) else {
                continue;
            };
            let name = |node: &NodeIndex| stages[node.index()].name.get_ref().as_ref();
            let path: Vec<&str> = cycle.iter().map(name).collect();
            let message = format!("stages depend on each other in a cycle: {}", path.join(" -> "));
            let help = "change the inputs of one of them".to_owned();
            report.add(Diagnostic::at(stages[cycle[0].index()].name.span(), message).with_help(help));
        }
    }

    /// The shortest path from a stage through its inputs back to itself.
    fn cycle(&self, first: NodeIndex) -> Option<Vec<NodeIndex>> {
        let inputs = self.graph.neighbors_directed(first, Direction::Incoming);
        let back = |input| astar(Reversed(&self.graph), input, |node| node == first, |_| 1, |_| 0);
        let (_, way) = inputs.filter_map(back).min()?;
        Some(std::iter::once(first).chain(way).collect())
    }

    /// Topological order, inputs first; otherwise in file order. Stages that are part of a cycle, or depend on one, are
    /// left out.
    pub(super) fn order(&self) -> Vec<usize> {
        let waits = |node| self.graph.neighbors_directed(node, Direction::Incoming).count();
        let mut waits: Vec<usize> = self.graph.node_indices().map(waits).collect();
        let mut ready: BTreeSet<usize> = (0..waits.len()).filter(|&stage| waits[stage] == 0).collect();
        let mut order = Vec::with_capacity(waits.len());
        while let Some(stage) = ready.pop_first() {
            order.push(stage);
            for user in self.graph.neighbors(NodeIndex::new(stage)).map(NodeIndex::index) {
                waits[user] -= 1;
                if waits[user] == 0 {
                    ready.insert(user);
                }
            }
        }
        order
    }

    /// The axes that each stage depends on, directly or through an input or a data set.
    pub(super) fn axes(
        &self,
        order: &[usize],
        datasets: &[DatasetDraft<'_>],
        stages: &[Draft<'_, StageSpec>],
        sweep: &Sweep<'_>,
    ) -> Vec<Axes> {
        let mut axes: Vec<Axes> = stages.iter().map(|draft| draft.axes.clone()).collect();
        for &stage in order {
            let read = self.datasets[stage].iter().flat_map(|&dataset| datasets[dataset].axes.clone());
            let inputs = self.graph.neighbors_directed(NodeIndex::new(stage), Direction::Incoming);
            let through: Axes = inputs.flat_map(|input| axes[input.index()].clone()).chain(read).collect();
            axes[stage].extend(through);
            if let Some(axis) = gathered(&stages[stage], sweep) {
                axes[stage].remove(&axis);
            }
        }
        axes
    }
}

impl Names<'_> {
    /// Dependencies of a stage in any of its versions; unknown names are reported.
    fn needs(&self, draft: &Draft<'_, StageSpec>, report: &mut Report) -> Needs {
        let mut needs = Needs::default();
        for Version { spec, body, .. } in &draft.versions {
            let (stage, section) = (spec, draft.name.span());
            for input in stage.inputs() {
                let reference = Reference { what: "stage", name: &input.stage, role: &input.role };
                needs.stages.extend(reference.find(&self.stages, &self.datasets, body, &section, report));
            }
            for input in stage.datasets() {
                let reference = Reference { what: "data set", name: &input.dataset, role: &input.role };
                needs.datasets.extend(reference.find(&self.datasets, &self.stages, body, &section, report));
            }
        }
        needs
    }
}

impl Reference<'_> {
    /// The position of the name among `known`; an unknown name is reported.
    fn find(
        &self,
        known: &IndexSet<&str>,
        others: &IndexSet<&str>,
        body: &Value<'_>,
        section: &Span,
        report: &mut Report,
    ) -> Option<usize> {
        let position = known.get_index_of(self.name);
        if position.is_none() {
            let exact = if report.is_full() { None } else { self.span(body) };
            let span = exact.unwrap_or_else(|| section.clone());
            self.report_unknown(span, known, others, report);
        }
        position
    }

    fn report_unknown(
        &self,
        span: Span,
        known: &IndexSet<&str>,
        others: &IndexSet<&str>,
        report: &mut Report,
    ) {
        if report.knows(&span) {
            return;
        }
        let help = if others.contains(self.name) {
            let other = if self.what == "stage" { "data set" } else { "stage" };
            Some(format!("there is a {other} with this name, but a {} is needed here", self.what))
        } else if report.is_full() {
            None
        } else {
            let known: Vec<&str> = known.iter().copied().collect();
            suggest::help(self.name, &known)
        };
        let message = format!("unknown {} `{}`", self.what, self.name);
        report.add(Diagnostic::at(span, message).with_help(help));
    }

    /// Location of the name: under the key of its role (`source.0` is in `sources`), or anywhere.
    fn span(&self, body: &Value<'_>) -> Option<Span> {
        let role = self.role.to_string();
        let head = role.split('.').next().unwrap_or(&role);
        let mut places = tree::strings(body);
        places.retain(|(_, text, _)| *text == self.name);
        let fits = |path: &[String]| path.iter().any(|step| step.starts_with(head));
        let fitting = places.iter().position(|(path, ..)| fits(path)).unwrap_or(0);
        places.into_iter().nth(fitting).map(|(_, _, span)| span)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::parsed;
    use super::*;

    const DATA: &str = "[dataset.d.phantom]\nfamily = 'cells'\n";

    fn messages(stages: &str) -> Vec<String> {
        parsed(&format!("{DATA}{stages}")).err().unwrap_or_default()
    }

    fn order(stages: &str) -> Vec<String> {
        let experiment = parsed(&format!("{DATA}{stages}")).unwrap();
        experiment.stages.into_iter().map(|stage| stage.name).collect()
    }

    fn finetune(name: &str, from: &str) -> String {
        format!("[stage.{name}.finetune]\nfrom = '{from}'\ndataset = 'd'\n")
    }

    fn pretrain(name: &str) -> String {
        format!("[stage.{name}.pretrain]\nbackbone = 'resnet18'\ndataset = 'd'\n")
    }

    #[test]
    fn inputs_come_first_and_otherwise_the_file_decides() {
        let stages = [finetune("last", "z"), pretrain("z"), finetune("y", "z"), pretrain("a")].concat();
        assert_eq!(order(&stages), ["z", "last", "y", "a"]);
    }

    #[test]
    fn each_cycle_is_reported_once_with_its_path() {
        let stages = [
            finetune("a", "b"),
            finetune("b", "c"),
            finetune("c", "a"),
            finetune("alone", "alone"),
            finetune("after", "c"),
        ];
        assert_eq!(
            messages(&stages.concat()),
            [
                "stages depend on each other in a cycle: a -> b -> c -> a",
                "stages depend on each other in a cycle: alone -> alone",
            ]
        );
    }

    #[test]
    fn a_long_chain_is_not_a_cycle() {
        let n = 200_000_u32;
        let graph = DiGraph::from_edges((1..n).map(|user| (user - 1, user)));
        let links = Links { graph, datasets: Vec::new() };
        let mut report = Report::default();
        links.check_cycles(&[], &mut report);
        assert!(report.is_clean());
        assert!(links.order().into_iter().eq(0..n as usize));
    }

    #[test]
    fn unknown_names_are_reported_at_their_location() {
        let stages = "[stage.d2.evaluate]\nmodels = { d = 'd', e = 'x' }\ndatasets = ['d2', 'd', 'x']";
        assert_eq!(
            messages(stages),
            ["unknown stage `d`", "unknown stage `x`", "unknown data set `d2`", "unknown data set `x`"]
        );
    }
}
