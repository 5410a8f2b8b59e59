//! `medmerge store`: a file a subcommand.

mod gc;
mod list;
mod verify;

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
}

impl Store {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        let store = global.open_store()?;
        match self {
            Self::List { json } => list::list(&store, *json),
            Self::Verify => verify::verify(&store),
            Self::Gc(gc) => gc.execute(&store),
        }
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
