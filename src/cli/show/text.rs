//! Text output of `medmerge show`: a tree of origins, and statistics of merge weights.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::weights::SourceWeights;
use super::{Shown, python};
use crate::cli::output::folded;
use crate::store::checkpoint::KEY;

pub(super) fn text(shown: &Shown, all: bool) -> String {
    let mut text = String::new();
    if let Some(lineage) = &shown.lineage {
        lineage.tree(all).lines().for_each(|branch| line(&mut text, format_args!("{branch}")));
    } else if shown.metadata.get(KEY).is_some_and(|said| said.contains("\"blake3\"")) {
        text += "this file was made by `medmerge merge`, not by a stage of an experiment\n";
    } else {
        text += "this file was not written by medmerge; its origin is unknown\n";
    }
    if let Some(selection) = &shown.selection {
        text += "selected by the scores on validation images:\n";
        selection.lines().for_each(|scored| line(&mut text, format_args!("  {scored}")));
    }
    for (key, value) in &shown.metadata {
        line(&mut text, format_args!("{key}: {value}"));
    }
    if let Some((path, info)) = &shown.model {
        text.push('\n');
        line(&mut text, format_args!("images: {}", info.preprocessing));
        // Folded, they would not be Python.
        python::lines(path, info).iter().for_each(|python| text.extend([python, "\n"]));
    }
    if let Some(manifest) = &shown.manifest {
        text.push('\n');
        for (name, file) in &manifest.files {
            line(&mut text, format_args!("{name}  {} bytes", file.bytes));
        }
    }
    if !shown.tensors.is_empty() {
        text += &tensors(shown, all);
    }
    if !shown.weights.is_empty() {
        text.push('\n');
        text += &weights(&shown.weights);
    }
    text
}

fn tensors(shown: &Shown, all: bool) -> String {
    let elements: usize = shown.tensors.iter().map(|(_, _, shape)| shape.iter().product::<usize>()).sum();
    let hint = if all { "" } else { "; --all lists them" };
    let mut text = format!("\ntensors: {}, elements: {elements}{hint}\n", shown.tensors.len());
    for (name, dtype, shape) in shown.tensors.iter().filter(|_| all) {
        line(&mut text, format_args!("{name}  {dtype} {shape:?}"));
    }
    text
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    writeln!(text, "{}", folded(&content.to_string())).expect("writing to memory cannot fail");
}

/// One line per layer: for each source mean ± standard deviation, and its share of the kernels or slices.
fn weights(all: &[SourceWeights]) -> String {
    let sources = all.iter().take_while(|row| row.layer == all[0].layer).count();
    let of_slices = all.iter().any(|row| row.of_slices);
    let counted = if of_slices { "kernels or slices" } else { "kernels" };
    let mut lines = vec![vec!["layer".to_owned(), counted.to_owned()]];
    lines[0].extend(all[..sources].iter().flat_map(|row| [row.source.clone(), "share".to_owned()]));
    for layer in all.chunks(sources) {
        let of_source = |row: &SourceWeights| {
            let std = row.of.std.map_or_else(String::new, |std| format!(" ± {std:.3}"));
            [format!("{:.3}{std}", row.of.mean), format!("{:.0} %", 100.0 * row.of.share)]
        };
        let mut line = vec![layer[0].layer.clone(), layer[0].kernels.to_string()];
        line.extend(layer.iter().flat_map(of_source));
        lines.push(line);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let cell = |(i, (text, &width)): (usize, (&String, &usize))| {
        let blanks = " ".repeat(width - text.width());
        if i == 0 { format!("{text}{blanks}") } else { format!("{blanks}{text}") }
    };
    let row =
        |line: &Vec<String>| line.iter().zip(&widths).enumerate().map(cell).collect::<Vec<_>>().join("  ");
    lines.iter().map(row).collect::<Vec<_>>().join("\n") + "\n"
}
