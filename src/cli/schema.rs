//! `medmerge schema`.

use std::io::{Write, stdout};

use clap::Args;

use super::Error;
use crate::experiment::json_schema;

/// Print the JSON Schema of experiment files, with which editors complete and validate keys
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  medmerge schema > experiment.schema.json
An experiment file names it in its first line: #:schema experiment.schema.json")]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn execute(&self) -> Result<(), Error> {
        Ok(writeln!(stdout(), "{:#}", json_schema())?)
    }
}
