//! `medmerge table`.

use clap::Args;

use super::experiments::OneFile;
use super::only::Only;
use super::results::{Extra, Format, write_and_print};
use super::{Error, Global};

/// Write an experiment's tables and figures again, from what the store has, and print the tables
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge table experiments/quickstart.toml                   after [table.…] or [figure.…] changed: no stage runs
  medmerge table experiments/quickstart.toml --format latex    as it stands in the .tex files
  medmerge table experiments/quickstart.toml --predictions     predictions for each image, too")]
pub(super) struct Table {
    #[command(flatten)]
    of: OneFile,
    /// How to print them; the files are written all the same
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: Format,
    #[command(flatten)]
    extra: Extra,
}

impl Table {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        let store = global.open_store_to_read()?;
        write_and_print(&self.of.plan(&store)?, &store, &Only::default(), self.format, self.extra, global)
    }
}
