//! `medmerge man`.

use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory};

use super::Cli;
use crate::error::Error;

/// Write manual pages, one per command
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  medmerge man ~/.local/share/man/man1 && man medmerge-run")]
pub(super) struct Man {
    /// Folder to write them to
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

impl Man {
    pub(super) fn execute(&self) -> Result<(), Error> {
        // What the long version says is true of this machine only.
        let command = Cli::command().long_version(None);
        let pages =
            fs::create_dir_all(&self.folder).and_then(|()| clap_mangen::generate_to(command, &self.folder));
        pages.map_err(|error| {
            Error::Usage(format!("failed to write manual pages to {}: {error}", self.folder.display()))
        })
    }
}
