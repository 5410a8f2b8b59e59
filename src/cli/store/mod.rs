//! `medmerge store`: one file per subcommand.

mod export;
mod gc;
mod import;
mod list;
mod verify;

use std::path::PathBuf;

use clap::Subcommand;

use super::{Error, Global};

/// Inspect and maintain the store
#[derive(Debug, Subcommand)]
pub(super) enum Store {
    /// List all entries: fingerprint, kind, size, time, stages that made them
    #[command(after_help = "\
Examples:
  medmerge store list
  medmerge store list --json | jq -r '.[] | select(.kind == \"merge\") | .fingerprint'")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Verify every file of every entry; damaged entries are set aside, so that the next run recreates them
    #[command(after_help = "\
Example:
  medmerge store verify")]
    Verify,
    Gc(gc::Gc),
    Export(export::Export),
    /// Import the entries of an archive that the store lacks
    #[command(after_help = "\
Example:
  medmerge store import main.zip

Each entry is verified and imported whole or not at all, whatever is wrong with others.")]
    Import {
        /// Archive written by `medmerge store export`
        #[arg(value_name = "ARCHIVE.zip")]
        archive: PathBuf,
    },
}

impl Store {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        let store = match self {
            Self::List { .. } | Self::Verify | Self::Export(_) => global.open_store_to_read()?,
            Self::Gc(_) | Self::Import { .. } => global.open_store()?,
        };
        match self {
            Self::List { json } => list::list(&store, *json),
            Self::Verify => verify::verify(&store),
            Self::Gc(gc) => gc.execute(&store),
            Self::Export(export) => export.execute(&store),
            Self::Import { archive } => import::import(&store, archive),
        }
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
