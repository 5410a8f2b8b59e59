//! The stages as a graph, from sources on the left to evaluations on the right: a box for each name, with all its axes,
//! or, of many names, for each kind.

use std::collections::HashMap;

use indexmap::IndexMap;
use maud::{Markup, html};

use super::Stage;

/// Graphs of more boxes are too large to read.
const BOXES: usize = 80;

/// Extent of a box, and the space between boxes.
const WIDTH: f64 = 164.0;
const HEIGHT: f64 = 36.0;
const ACROSS: f64 = 50.0;
const DOWN: f64 = 12.0;

/// All stages of a name.
#[derive(Debug, Default)]
struct Node<'a> {
    name: &'a str,
    kind: &'a str,
    stages: usize,
    /// Those that are not in the store.
    missing: usize,
    /// Positions of what it takes from.
    inputs: Vec<usize>,
    /// Column, and row in it.
    at: (usize, usize),
}

/// The graph; nothing if it has no edge.
pub(super) fn section(stages: &[Stage]) -> Option<Markup> {
    let mut nodes = placed(stages, |stage| name(&stage.id));
    if nodes.len() > BOXES {
        nodes = placed(stages, |stage| &stage.kind);
    }
    let is_drawn = nodes.iter().any(|node| !node.inputs.is_empty());
    is_drawn.then(|| html! { details open[nodes.len() <= BOXES / 4] { summary { "Graph" } (drawn(&nodes)) } })
}

/// A box for all stages with the same `box_of`.
fn placed(stages: &[Stage], box_of: fn(&Stage) -> &str) -> Vec<Node<'_>> {
    let mut nodes: IndexMap<&str, Node<'_>> = IndexMap::new();
    let boxes: HashMap<&str, &str> = stages.iter().map(|stage| (stage.id.as_str(), box_of(stage))).collect();
    for stage in stages {
        let name = box_of(stage);
        let entry = nodes.entry(name);
        let i = entry.index();
        let node = entry.or_insert_with(|| Node { name, kind: &stage.kind, ..Node::default() });
        node.stages += 1;
        node.missing += usize::from(stage.made.is_none());
        // Inputs come before what takes from them.
        let inputs: Vec<usize> =
            stage.inputs.iter().filter_map(|input| nodes.get_index_of(boxes.get(input.as_str())?)).collect();
        for input in inputs {
            if input < i && !nodes[i].inputs.contains(&input) {
                nodes[i].inputs.push(input);
            }
        }
    }
    let mut nodes: Vec<Node<'_>> = nodes.into_values().collect();
    place(&mut nodes);
    nodes
}

/// An id is `name[axis=value,…]`, or `name`.
fn name(id: &str) -> &str {
    id.split('[').next().unwrap_or(id)
}

/// Each box in the column after its last input; in a column, in the order of the mean rows of inputs.
fn place(nodes: &mut [Node<'_>]) {
    for i in 0..nodes.len() {
        let after = nodes[i].inputs.iter().map(|&input| nodes[input].at.0 + 1).max();
        nodes[i].at.0 = after.unwrap_or(0);
    }
    let columns = nodes.iter().map(|node| node.at.0).max().unwrap_or(0);
    for column in 0..=columns {
        let mut inside: Vec<usize> = (0..nodes.len()).filter(|&i| nodes[i].at.0 == column).collect();
        inside.sort_by(|&a, &b| mean_row(nodes, a).total_cmp(&mean_row(nodes, b)));
        inside.into_iter().enumerate().for_each(|(row, i)| nodes[i].at.1 = row);
    }
}

fn mean_row(nodes: &[Node<'_>], i: usize) -> f64 {
    let rows = nodes[i].inputs.iter().map(|&input| nodes[input].at.1 as f64);
    rows.sum::<f64>() / nodes[i].inputs.len().max(1) as f64
}

fn drawn(nodes: &[Node<'_>]) -> Markup {
    let extent = |count: fn(&Node<'_>) -> usize| nodes.iter().map(count).max().unwrap_or(0) as f64 + 1.0;
    let width = extent(|node| node.at.0) * (WIDTH + ACROSS) - ACROSS + 2.0;
    let height = extent(|node| node.at.1) * (HEIGHT + DOWN) - DOWN + 2.0;
    html! {
        div.scroll tabindex="0" {
            svg.graph role="img" aria-label="Which stages take from which; the table has the same as text"
                viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) {
                @for node in nodes { @for &input in &node.inputs { (edge(&nodes[input], node)) } }
                @for node in nodes { (drawn_box(node)) }
            }
        }
    }
}

/// Left and top of a box.
fn corner(node: &Node<'_>) -> (f64, f64) {
    (node.at.0 as f64 * (WIDTH + ACROSS) + 1.0, node.at.1 as f64 * (HEIGHT + DOWN) + 1.0)
}

fn edge(from: &Node<'_>, to: &Node<'_>) -> Markup {
    let ((x, y), (end, target)) = (corner(from), corner(to));
    let (start, middle) = (x + WIDTH, HEIGHT / 2.0);
    let (y, target) = (y + middle, target + middle);
    let bend = ACROSS * 0.6;
    html! {
        path.edge d={ "M" (start) " " (y) "C" (start + bend) " " (y) " " (end - bend) " " (target) " " (end) " " (target) } {}
    }
}

fn drawn_box(node: &Node<'_>) -> Markup {
    let (x, y) = corner(node);
    let count = if node.stages > 1 { format!(" × {}", node.stages) } else { String::new() };
    let missing = if node.missing > 0 { format!(", {} missing", node.missing) } else { String::new() };
    html! {
        rect.missing[node.missing > 0] x=(x) y=(y) width=(WIDTH) height=(HEIGHT) rx="5" {}
        text x=(x + 8.0) y=(y + 15.0) { (shortened(node.name)) }
        text.kind x=(x + 8.0) y=(y + 29.0) { (node.kind) (count) (missing) }
    }
}

/// A name that fits a box.
fn shortened(name: &str) -> String {
    const LONGEST: usize = 22;
    match name.chars().count() <= LONGEST {
        true => name.to_owned(),
        false => name.chars().take(LONGEST - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(id: &str, inputs: &[&str]) -> Stage {
        let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
        Stage { id: id.into(), kind: "merge".into(), inputs, made: Some((0, 1.0)), ..Stage::default() }
    }

    #[test]
    fn stages_stand_right_of_what_they_take_from() {
        let stages = [
            stage("a", &[]),
            stage("b", &[]),
            stage("ft[seed=0]", &["b"]),
            stage("ft[seed=1]", &["b"]),
            stage("merged[seed=0]", &["a", "ft[seed=0]"]),
            stage("other", &["a"]),
        ];
        let nodes = placed(&stages, |stage| name(&stage.id));
        let found: Vec<_> = nodes.iter().map(|node| (node.name, node.stages, node.at)).collect();
        assert_eq!(
            found,
            [
                ("a", 1, (0, 0)),
                ("b", 1, (0, 1)),
                ("ft", 2, (1, 1)),
                ("merged", 1, (2, 0)),
                ("other", 1, (1, 0))
            ]
        );
        assert_eq!(nodes[3].inputs, [0, 2]);
        assert!(section(&stages).is_some());
        assert!(section(&stages[..2]).is_none(), "no edge");
    }

    #[test]
    fn many_names_are_put_together_by_kind() {
        let mut stages: Vec<Stage> = (0..BOXES).map(|i| stage(&format!("s{i}"), &[])).collect();
        stages.iter_mut().for_each(|stage| stage.kind = "pretrain".into());
        stages.push(stage("merged", &["s0", "s1"]));
        let text = section(&stages).unwrap().into_string();
        assert!(text.contains("pretrain × 80") && text.matches("<rect").count() == 2, "{text}");
    }
}
