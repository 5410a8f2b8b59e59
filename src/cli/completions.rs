//! `medmerge completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use crate::error::Error;

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  medmerge completions bash > ~/.local/share/bash-completion/completions/medmerge")]
pub(super) struct Completions {
    /// Name of the shell
    shell: Shell,
}

impl Completions {
    pub(super) fn execute(&self) -> Result<(), Error> {
        // To memory first: the generator panics on a closed pipe.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "medmerge", &mut script);
        Ok(std::io::Write::write_all(&mut std::io::stdout(), &script)?)
    }
}
