//! Plans as graphs: `plan --dot` for Graphviz, `plan --mermaid` for Markdown.
//!
//! Nodes are stages with their kind and status, edges are inputs with their role.

use super::{Plan, PlannedStage};

impl Plan {
    /// The plan in Graphviz's language; stale stages are dashed.
    pub fn to_dot(&self) -> String {
        let node = |(i, stage): (usize, &PlannedStage)| {
            let style = if stage.status.is_stale() { ", style=dashed" } else { "" };
            format!("  s{i} [label=\"{}\\n{}\"{style}]\n", for_dot(&stage.id), state(stage))
        };
        let edge = |(input, role, user): (usize, String, usize)| {
            format!("  s{input} -> s{user} [label=\"{}\"]\n", for_dot(&role))
        };
        let nodes: String = self.graph.stages().enumerate().map(node).collect();
        let edges: String = self.drawn_inputs().map(edge).collect();
        let name = for_dot(&self.experiment.name);
        format!("digraph \"{name}\" {{\n  rankdir=LR\n  node [shape=box]\n{nodes}{edges}}}\n")
    }

    /// The plan in Mermaid's language; stale stages are dashed.
    pub fn to_mermaid(&self) -> String {
        let node = |(i, stage): (usize, &PlannedStage)| {
            let class = if stage.status.is_stale() { ":::stale" } else { "" };
            format!("  s{i}[\"{}<br>{}\"]{class}\n", for_mermaid(&stage.id), state(stage))
        };
        let edge = |(input, role, user): (usize, String, usize)| {
            format!("  s{input} -->|\"{}\"| s{user}\n", for_mermaid(&role))
        };
        let nodes: String = self.graph.stages().enumerate().map(node).collect();
        let edges: String = self.drawn_inputs().map(edge).collect();
        format!("flowchart LR\n{nodes}{edges}  classDef stale stroke-dasharray: 4\n")
    }

    /// Input, role and user of each edge, by node number.
    fn drawn_inputs(&self) -> impl Iterator<Item = (usize, String, usize)> {
        let stages = self.graph.stages().enumerate();
        stages.flat_map(|(user, stage)| {
            stage.inputs.iter().map(move |(input, node)| (node.index(), input.title(), user))
        })
    }
}

fn state(stage: &PlannedStage) -> String {
    format!("{}, {}", stage.spec.kind(), stage.status.word())
}

/// Escape text within quotes. In Graphviz, backslashes start escapes and ampersands start entities.
fn for_dot(text: &str) -> String {
    let quoted = |c: char| match c {
        '\\' => "\\\\".to_owned(),
        '"' => "\\\"".to_owned(),
        '&' => "&amp;".to_owned(),
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(quoted).collect()
}

/// Escape text within quotes. Characters that are markup in Mermaid are written by number.
fn for_mermaid(text: &str) -> String {
    let is_plain = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || " _-.,=[]()/+%:".contains(c);
    let quoted = |c: char| match c {
        c if c.is_control() => " ".to_owned(),
        c if is_plain(c) => c.to_string(),
        c => format!("#{};", u32::from(c)),
    };
    text.chars().map(quoted).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Lab;
    use super::*;
    use stage::StageSpec;

    /// A plan with a fresh source, and a model label that must be quoted.
    fn plan() -> Plan {
        let mut lab = Lab::new();
        lab.make(&["source"]);
        let StageSpec::Evaluate(scores) = &mut lab.experiment.stages[2].spec else { panic!("scores") };
        scores.models = [(r#"LP "A" & <B>\n #1"#.to_owned(), "tuned".to_owned())].into_iter().collect();
        lab.plan()
    }

    #[test]
    fn a_plan_as_graphviz_draws_it() {
        insta::assert_snapshot!(plan().to_dot(), @r#"
        digraph "lab" {
          rankdir=LR
          node [shape=box]
          s0 [label="source\npretrain, fresh"]
          s1 [label="tuned\nfinetune, stale", style=dashed]
          s2 [label="scores\nevaluate, stale", style=dashed]
          s0 -> s1 [label="from"]
          s1 -> s2 [label="model.LP \"A\" &amp; <B>\\n #1"]
        }
        "#);
    }

    #[test]
    fn a_plan_as_mermaid_draws_it() {
        insta::assert_snapshot!(plan().to_mermaid(), @r##"
        flowchart LR
          s0["source<br>pretrain, fresh"]
          s1["tuned<br>finetune, stale"]:::stale
          s2["scores<br>evaluate, stale"]:::stale
          s0 -->|"from"| s1
          s1 -->|"model.LP #34;A#34; #38; #60;B#62;#92;n #35;1"| s2
          classDef stale stroke-dasharray: 4
        "##);
    }

    #[test]
    fn a_line_break_in_a_name_breaks_no_line() {
        assert_eq!(for_dot("a\nb\u{0}"), "a b ");
        assert_eq!(for_mermaid("a\r\n模`b`"), "a  模#96;b#96;");
    }
}
