//! `medmerge table`.

use clap::Args;

use super::experiments::OneFile;
use super::only::Only;
use super::{Error, Global, results};

/// Write an experiment's tables and figures again, from what the store has, and print the tables
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  medmerge table experiments/quickstart.toml    after [table.…] or [figure.…] changed: nothing is computed anew")]
pub(super) struct Table {
    #[command(flatten)]
    of: OneFile,
}

impl Table {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        let store = global.open_store()?;
        results::write_and_print(&self.of.plan(&store)?, &store, &Only::default(), global)
    }
}
