//! A lineage as text: each stage with its inputs below it.

use std::collections::HashSet;
use std::fmt::Write;

use super::{Lineage, Origin};
use identity::{Field, Fingerprint, short};

/// Paths, or prefixes of paths, of the options shown by default.
const SHOWN: [&str; 12] = [
    "backbone.",
    "method",
    "trainable",
    "anchor_weight",
    "constraint",
    "granularity",
    "batch_norm",
    "split",
    "train.optimizer.",
    "train.epochs",
    "train.seed",
    "file.",
];

/// Optimizers have many options, mostly at their defaults; only this one is shown.
const SHOWN_OF_OPTIMIZER: &str = ".lr";

impl Lineage {
    /// A tree of lines: stages with their options and data sets, all options or those that matter most.
    pub fn tree(&self, all: bool) -> String {
        Tree { lineage: self, all }.text()
    }
}

struct Tree<'a> {
    lineage: &'a Lineage,
    all: bool,
}

/// A stage still to be printed.
struct Branch {
    role: Option<String>,
    fingerprint: Fingerprint,
    /// Prefix of its own line, and of those below.
    lead: (String, String),
}

impl Tree<'_> {
    /// Each stage, with its inputs below it; a stage that was printed before is only named.
    fn text(&self) -> String {
        let mut text = String::new();
        let mut printed = HashSet::new();
        let lead = (String::new(), String::new());
        let mut waiting = vec![Branch { role: None, fingerprint: self.lineage.root, lead }];
        while let Some(branch) = waiting.pop() {
            let again = !printed.insert(branch.fingerprint);
            line(&mut text, format_args!("{}{}", branch.lead.0, self.headline(&branch, again)));
            let origin = self.lineage.known.get(&branch.fingerprint).filter(|_| !again);
            let Some(origin) = origin else { continue };
            let inputs = origin.inputs();
            let below = format!("{}{}", branch.lead.1, if inputs.is_empty() { "   " } else { "│  " });
            for detail in self.details(origin) {
                line(&mut text, format_args!("{below}{detail}"));
            }
            let last = inputs.len().saturating_sub(1);
            let branches = inputs.into_iter().enumerate().map(|(i, (role, fingerprint))| {
                let (fork, pipe) = if i == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
                let lead = (format!("{}{fork}", branch.lead.1), format!("{}{pipe}", branch.lead.1));
                Branch { role: Some(role.to_string()), fingerprint, lead }
            });
            waiting.extend(branches.rev());
        }
        text
    }

    /// `from: finetune 1f0c9a2b3c4d  probe_a[seed=0]`
    fn headline(&self, branch: &Branch, again: bool) -> String {
        let role = branch.role.as_ref().map_or_else(String::new, |role| format!("{role}: "));
        let short = branch.fingerprint.short();
        let Some(origin) = self.lineage.known.get(&branch.fingerprint) else {
            return format!("{role}{short}  (unknown)");
        };
        let names = match &origin.names[..] {
            [] => String::new(),
            [name] => format!("  {name}"),
            [name, others @ ..] => format!("  {name} and {} more", others.len()),
        };
        let note = match () {
            () if again => "  (see above)",
            () if !origin.is_whole(&branch.fingerprint) => "  (options unknown)",
            () => "",
        };
        format!("{role}{} {short}{names}{note}", origin.kind())
    }

    /// The stage's options, and one line per data set.
    fn details(&self, origin: &Origin) -> Vec<String> {
        let options = list(origin.options().filter(|field| self.all || is_shown(field)));
        let mut details = Vec::from_iter(Some(options).filter(|options| !options.is_empty()));
        for (role, fingerprint) in origin.datasets() {
            let Some(dataset) = self.lineage.known.get(&fingerprint) else {
                details.push(format!("{role}: {}", fingerprint.short()));
                continue;
            };
            let hidden = |field: &&Field| {
                !self.all && (matches!(&*field.path, "revision" | "digest") || field.value == "null")
            };
            let options = list(dataset.options().filter(|field| !hidden(field)));
            let (kind, short, names) = (dataset.kind(), fingerprint.short(), dataset.names.join(", "));
            let parts = [format!("{role}: {kind} {short}"), names, options];
            let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            details.push(parts.join("  "));
        }
        details
    }
}

fn is_shown(field: &Field) -> bool {
    let path = &field.path;
    let of_optimizer = path.starts_with("train.optimizer.");
    field.value != "null"
        && SHOWN.iter().any(|shown| path.starts_with(shown))
        && (!of_optimizer || path.ends_with(SHOWN_OF_OPTIMIZER))
}

/// `epochs = 3, optimizer.adamw.lr = 0.001`, as in the experiment file.
fn list<'f>(fields: impl Iterator<Item = &'f Field>) -> String {
    let text = |field: &Field| {
        let path = field.path.strip_prefix("train.").unwrap_or(&field.path);
        match (path.starts_with("file."), &*field.value) {
            (true, digest) => format!("{path} = {}", short(digest)),
            (false, "{}") => path.to_owned(),
            (false, value) => format!("{path} = {value}"),
        }
    };
    fields.map(text).collect::<Vec<_>>().join(", ")
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    writeln!(text, "{content}").expect("writing to memory cannot fail");
}
