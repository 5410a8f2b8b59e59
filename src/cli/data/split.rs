//! `medmerge data split`.

use std::io::Write;

use clap::Args;

use super::Error;
use super::named::OneDataset;
use crate::cli::output::stdout;

/// Write how a data set is split, as a CSV image,label,split,group
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge data split experiments/main.toml --dataset ham --out splits.csv
  medmerge data split experiments/main.toml --dataset 'ham[fold=0]' --out fold0.csv

Any data set of the same images takes the file: split.file.path = \"splits.csv\". Label budgets do not matter.")]
pub(in crate::cli) struct Split {
    #[command(flatten)]
    of: OneDataset,
}

impl Split {
    pub(super) fn execute(&self) -> Result<(), Error> {
        let experiment = self.of.load()?;
        let dataset = self.of.find(&experiment)?;
        let (id, kind) = (dataset.id(), dataset.spec.kind());
        let csv = dataset.spec.split_csv()?.ok_or_else(|| {
            Error::Usage(format!(
                "data set `{id}` is of the kind `{kind}`, which reads no image files and has no key `split`"
            ))
        })?;
        self.of.write(&csv)?;
        Ok(writeln!(stdout(), "{}: the split of `{id}`", self.of.out().display())?)
    }
}
