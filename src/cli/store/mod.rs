//! `medmerge store`: a file a subcommand.

mod export;
mod gc;
mod import;
mod list;
mod verify;

use std::path::PathBuf;

use clap::Subcommand;

use super::{Error, Global};

/// What the store has
#[derive(Debug, Subcommand)]
pub(super) enum Store {
    /// Every entry: fingerprint, kind, size, time, stages that made it
    #[command(after_help = "\
Examples:
  medmerge store list
  medmerge store list --json | jq -r '.[] | select(.kind == \"merge\") | .fingerprint'")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Read every file of every entry; set aside what is damaged, so that the next run makes it again
    #[command(after_help = "\
Example:
  medmerge store verify")]
    Verify,
    Gc(gc::Gc),
    Export(export::Export),
    /// Take from an archive every entry that the store lacks
    #[command(after_help = "\
Example:
  medmerge store import main.zip

Each entry is verified and imported whole or not at all, whatever is wrong with others.")]
    Import {
        /// What `medmerge store export` wrote
        #[arg(value_name = "ARCHIVE.zip")]
        archive: PathBuf,
    },
}

impl Store {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        let store = global.open_store()?;
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
