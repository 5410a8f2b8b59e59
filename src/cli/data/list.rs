//! `medmerge data list`.

use std::io::Write;

use clap::Args;

use super::Error;
use crate::cli::experiments::Files;
use crate::cli::output::stdout;
use crate::dataset::inspect::MultiLabelCounts;
use crate::dataset::{DataError, LabelBudget, SplitName, Summary};
use crate::experiment::DatasetInstance;
use crate::kind::text::visible;
use crate::plan::warnings;

/// Show classes and numbers of images of each data set
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge data list experiments/quickstart.toml
  medmerge data list experiments/quickstart.toml --set dataset.fundus.train=50")]
pub(in crate::cli) struct List {
    #[command(flatten)]
    files: Files,
}

impl List {
    pub(super) fn execute(&self) -> Result<(), Error> {
        let experiments = self.files.load()?;
        let datasets = experiments.iter().flat_map(|experiment| &experiment.datasets);
        let kept = datasets.map(|dataset| {
            let DatasetInstance { spec, labels, .. } = dataset;
            let whole = spec.summary()?;
            let labels = labels.effective(&whole);
            Ok((dataset, labels, labels.summary_of(spec, whole)?))
        });
        let summaries: Vec<_> = kept.collect::<Result<_, DataError>>()?;
        let warnings = warnings(summaries.iter().map(|(dataset, _, summary)| (*dataset, summary)));
        warnings.iter().for_each(|warning| tracing::warn!("{}", visible(warning)));
        let mut out = stdout();
        for (dataset, labels, summary) in &summaries {
            describe(dataset, labels, summary, &mut out)?;
        }
        Ok(())
    }
}

/// A heading, then the counts. `labels` is the effective budget.
fn describe(
    dataset: &DatasetInstance,
    labels: &LabelBudget,
    summary: &Summary,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let spec = &dataset.spec;
    let (id, kind, size) = (dataset.id(), spec.kind(), spec.size());
    let budget = budget(labels);
    let several = if summary.labeling().is_single_label() { "" } else { ", multi-label" };
    let classes = summary.classes.len();
    writeln!(out, "{id} ({kind}, {size} x {size} pixels, {classes} classes{several}{budget})")?;
    let multi_label = summary.multi_label.clone().map(Into::into);
    counts(&summary.classes, &summary.counts, multi_label.as_ref(), out)
}

/// What is kept of the images, after a comma.
fn budget(labels: &LabelBudget) -> String {
    let fraction = Some(100.0 * labels.label_fraction).filter(|&percent| percent < 100.0);
    let fraction = fraction.map(|percent| format!(", {percent} % of the training labels"));
    let count =
        |count: Option<usize>, split| count.map(|count| format!(", at most about {count} {split} images"));
    let train = count(labels.label_count, "training");
    [fraction, train, count(labels.val_count, "validation")].into_iter().flatten().collect()
}

/// One line per class with its images in each split, and the number of images of which it is unknown; then totals.
pub(super) fn counts(
    classes: &[String],
    counts: &[Vec<usize>; 3],
    multi_label: Option<&MultiLabelCounts>,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let classes: Vec<_> = classes.iter().map(|class| visible(class)).collect();
    let width = classes.iter().map(|class| class.chars().count()).max().unwrap_or_default().max(5);
    let [train, val, test] = SplitName::ALL.map(SplitName::as_str);
    writeln!(out, "  {:<width$}  {train:>7}  {val:>7}  {test:>7}", "class")?;
    for (label, class) in classes.iter().enumerate() {
        let [train, val, test] = counts.each_ref().map(|counts| counts[label]);
        let unknown = multi_label.map_or_else(String::new, |multi| unknown(multi, label));
        writeln!(out, "  {class:<width$}  {train:>7}  {val:>7}  {test:>7}{unknown}")?;
    }
    let sums = counts.each_ref().map(|counts| counts.iter().sum::<usize>());
    let [train, val, test] = multi_label.map_or(sums, |multi| multi.images);
    writeln!(out, "  {:<width$}  {train:>7}  {val:>7}  {test:>7}", "all")
}

/// `  (unknown: 3, 0, 1)`, if there are any.
fn unknown(counts: &MultiLabelCounts, label: usize) -> String {
    let [train, val, test] = counts.unknown.each_ref().map(|counts| counts[label]);
    match train + val + test {
        0 => String::new(),
        _ => format!("  (unknown: {train}, {val}, {test})"),
    }
}
